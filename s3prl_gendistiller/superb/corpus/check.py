"""Holds what lies under SUPERB_DATA against what SUPERB's tasks read and what is published of their corpora."""

from __future__ import annotations

import csv
import os
import reprlib
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from s3prl_gendistiller.distill.files import files_below, of_each_file, refuse_irregular
from s3prl_gendistiller.errors import UserError, few
from s3prl_gendistiller.superb.corpus.audio import Found, audio_faults, listen, rate_of
from s3prl_gendistiller.superb.corpus.needs import Listing, Need, Part
from s3prl_gendistiller.superb.corpus.published import Amount

COMPLETE, INCOMPLETE, ABSENT, SYNTHETIC = "complete", "incomplete", "absent", "synthetic"
Stamp = Callable[[Path], bool | None]
"""Of a corpus folder: None for one of another origin; of one that `gendistiller corpus` wrote, whether it is whole."""

UNREADABLE = (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError, csv.Error)
"""What reading a list raises that is not of the form that is expected of it."""
REPEAT = "repeat `gendistiller corpus`"
_HOURS_OFF = 0.02


@dataclass(frozen=True)
class Report:
    """Of one task.

    Attributes:
        state: "complete", "incomplete", "absent" or "synthetic".
        files: of audio.
        hours: of audio; None if they were not counted.
        problems: one line each.
        makeable: whether ``--make`` may mend some of them.
        audible: whether all audio is there.
    """

    need: Need
    state: str
    files: int
    hours: float | None
    problems: tuple[str, ...]
    makeable: bool = False
    audible: bool = False

    @property
    def missing(self) -> bool:
        """Whether the task cannot be run as it is."""
        return self.state in (INCOMPLETE, ABSENT)

    def with_problems(self, more: Iterable[str]) -> Report:
        """And those of its lists' contents, in front; an absent corpus has none."""
        problems = (*(problem for problem in more if problem not in self.problems), *self.problems)
        if self.state == ABSENT or len(problems) == len(self.problems):
            return self
        return replace(self, state=INCOMPLETE, problems=problems)


class Shelf:
    """Looks at each folder once, however many tasks read it.

    Args:
        durations: look at all audio.
        sample: of how many files of a folder, spread over it, a look at the audio is enough; None for all.
        progress: show a bar.
        workers: threads; None for four a core.
    """

    def __init__(
        self,
        *,
        durations: bool = True,
        sample: int | None = None,
        progress: bool = True,
        workers: int | None = None,
    ) -> None:
        self._sample = sample if durations else 0
        self._progress = progress
        self._workers = workers
        self._found: dict[tuple[Path, str, tuple[str, ...]], Found] = {}

    def audio(self, part: Part) -> Found:
        key = (part.folder, part.suffix, part.beginnings)
        if key not in self._found:
            files = tuple(files_below(part.folder, part.suffix, part.beginnings))
            chosen = files if self._sample is None else _spread(files, self._sample)
            heard = of_each_file(
                chosen, listen, workers=self._workers, description=part.name, progress=self._progress and bool(chosen)
            )
            self._found[key] = Found(files, dict(zip(chosen, heard, strict=True)))
        return self._found[key]

    def looked(self) -> tuple[int, int]:
        """How many files were looked at, and how many there are."""
        found = self._found.values()
        return sum(len(audio.heard) for audio in found), sum(len(audio.files) for audio in found)


def _spread(files: Sequence[Path], count: int) -> Sequence[Path]:
    """As many of them, the first and the last included, at even distances."""
    if count >= len(files):
        return files
    return [files[i * (len(files) - 1) // max(1, count - 1)] for i in range(count)]


def check(need: Need, shelf: Shelf, stamp: Stamp) -> Report:
    """What of a need is met.

    Args:
        stamp: see `Stamp`.
    """
    there = [root for root in need.roots if root.is_dir()]
    if not there:
        return Report(need, ABSENT, 0, None, (f"{few(need.roots)}: not there",))
    found = {part.name: shelf.audio(part) for part in need.parts}
    stamps = [stamp(root) for root in there]
    ours = None not in stamps
    unfinished = [f"{root}: not finished; {REPEAT}" for root in there if stamp(root) is False]
    silent = [
        problem
        for part in need.parts
        for problem in _part_problems(part, found[part.name], None if ours else part.amount, rate_of(found.values()))
    ]
    present = {str(file) for audio in found.values() for file in audio.files}
    absent = [listing for listing in need.listings if not listing.path.exists()]
    unlisted = list(_absent_listings(absent, ours=ours))
    for listing in need.listings:
        if listing not in absent and listing.named is not None:
            unlisted += listing_problems(listing, listing.named, present, compared=not ours, config=need.config)
    seconds = [audio.seconds for audio in found.values()]
    problems = (*unfinished, *silent, *unlisted)
    return Report(
        need,
        INCOMPLETE if problems else SYNTHETIC if ours else COMPLETE,
        sum(len(audio.files) for audio in found.values()),
        None if None in seconds else sum(second or 0.0 for second in seconds) / 3600,
        problems,
        makeable=not ours and any(listing.recipe for listing in absent),
        audible=not silent,
    )


def _part_problems(part: Part, found: Found, amount: Amount | None, common_hz: int) -> Iterator[str]:
    if not found.files:
        yield f"{part.folder}: no {part.suffix} files" if part.folder.is_dir() else f"{part.folder}: not there"
        return
    yield from audio_faults(part, found, common_hz)
    if amount is None:
        return
    if len(found.files) < amount.files:
        yield f"{part.name}: {len(found.files):,} of {amount.files:,} files in {part.folder}"
    elif found.seconds is not None and amount.hours is not None:
        hours = found.seconds / 3600
        if abs(hours - amount.hours) > _HOURS_OFF * amount.hours + amount.rounding_h:
            yield f"{part.name}: {hours:.2f} h in {part.folder}, expected {amount.hours:g}"


def _absent_listings(listings: Sequence[Listing], *, ours: bool) -> Iterator[str]:
    """One line for those of one folder that one remedy helps."""
    together: dict[tuple[Path, str], list[str]] = {}
    for listing in listings:
        remedy = f"; {REPEAT}" if ours else _remedy(listing)
        together.setdefault((listing.path.parent, remedy), []).append(listing.path.name)
    for (folder, remedy), names in together.items():
        yield f"{folder}: no {', '.join(names)}{remedy}"


def listing_problems(
    listing: Listing,
    named: Callable[[Path], Iterator[str]],
    present: set[str],
    *,
    compared: bool,
    config: Mapping[str, Any],
) -> Iterator[str]:
    """What is wrong in a list of audio files; one line each.

    Args:
        named: its `Listing.named`.
        present: the audio files that were found.
        compared: hold the number of entries against the published one.
        config: the task's `downstream_expert`.
    """
    try:
        refuse_irregular(listing.path, "text")
        names = list(named(listing.path))
    except UserError as error:
        yield str(error)
        return
    except UNREADABLE as error:
        yield f"{listing.path}: cannot be read ({error}){_remedy(listing)}"
        return
    misfits = [(number, name) for number, name in enumerate(names, start=1) if not isinstance(name, str) or not name]
    if misfits:
        number, found = misfits[0][0], reprlib.repr(misfits[0][1])
        yield f"{listing.path} entry {number}: found {found}, expected the path of an audio file; correct it"
        return
    if compared and listing.rows is not None and len(names) != listing.rows:
        yield f"{listing.path}: {len(names):,} entries, expected {listing.rows:,}"
    named_once = dict.fromkeys(names)
    if listing.once and len(named_once) < len(names):
        twice = [name for name, count in Counter(names).items() if count > 1]
        yield f"{listing.path}: names {len(twice):,} audio files more than once: {few(twice)}; keep one line of each"
    lost = [name for name in named_once if not any(str(folder / name) in present for folder in listing.folders)]
    lost = [name for name in lost if not any(os.path.isfile(folder / name) for folder in listing.folders)]  # elsewhere
    if lost:
        hint = _alike(listing, lost, present) or (_origin(listing, config) if 2 * len(lost) > len(named_once) else "")
        yield f"{listing.path}: names {len(lost):,} audio files that are not there: {few(lost)}{hint}"
    elif not names:
        yield f"{listing.path}: names no audio file{_remedy(listing)}"


def _origin(listing: Listing, config: Mapping[str, Any]) -> str:
    """The key of the configuration that says where the audio is, for lists of which most is missing."""
    keys = [
        (f"{section}.{key}", Path(value))
        for section, entries in config.items()
        if isinstance(entries, Mapping)
        for key, value in entries.items()
        if isinstance(value, str) and any(folder.is_relative_to(value) for folder in listing.folders)
    ]
    key, folder = max(keys, key=lambda found: len(found[1].parts), default=("", Path()))
    return f"; they are looked for where downstream_expert.{key} points, {folder}" if key else ""


def _alike(listing: Listing, lost: Sequence[str], present: Iterable[str]) -> str:
    """Whether a name that is not there differs from one that is in its case or its form of Unicode only."""
    there = {_plain(path): path for path in present}
    for name in lost:
        for folder in listing.folders:
            other = there.get(_plain(str(folder / name)))
            if other is not None:
                return f"; {other!r} has another case or Unicode form: rename it"
    return ""


def _plain(path: str) -> str:
    return unicodedata.normalize("NFC", path).casefold()


def _remedy(listing: Listing) -> str:
    ways = [listing.advice] if listing.advice else ["--make writes it"] if listing.recipe else []
    if listing.in_s3prl:
        folder = Path("s3prl", listing.in_s3prl).parent.as_posix()
        ways.append(f"a git checkout of s3prl has it in {folder} (--make --s3prl CHECKOUT copies it)")
    return f"; {' or '.join(ways)}" if ways else ""

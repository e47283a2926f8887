"""Holds what lies under SUPERB_DATA against what SUPERB's tasks read and what is published of their corpora."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import soundfile

from s3prl_gendistiller.distill.files import files_below, of_each_file
from s3prl_gendistiller.superb.needs import Listing, Need, Part
from s3prl_gendistiller.superb.published import Amount

COMPLETE, INCOMPLETE, ABSENT, SYNTHETIC = "complete", "incomplete", "absent", "synthetic"
Stamp = Callable[[Path], bool | None]
"""Of a corpus folder: None for one of another origin; of one that `gendistiller corpus` wrote, whether it is whole."""

REPEAT = "repeat `gendistiller corpus`"
_HOURS_OFF = 0.02
_NAMED = 3


class Found(NamedTuple):
    """Audio of a part.

    Attributes:
        files: paths.
        seconds: of all of them; None if their headers were not read.
        unreadable: files whose header is no audio, or that hold none.
    """

    files: tuple[Path, ...]
    seconds: float | None
    unreadable: tuple[Path, ...] = ()


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


class Shelf:
    """Looks at each folder once, however many tasks read it.

    Args:
        durations: read the headers of all audio.
        progress: show a bar.
        workers: threads; None for four a core.
    """

    def __init__(self, *, durations: bool = True, progress: bool = True, workers: int | None = None) -> None:
        self._durations = durations
        self._progress = progress
        self._workers = workers
        self._found: dict[tuple[Path, str, tuple[str, ...]], Found] = {}

    def audio(self, part: Part) -> Found:
        key = (part.folder, part.suffix, part.beginnings)
        if key not in self._found:
            files = tuple(files_below(part.folder, part.suffix, part.beginnings))
            self._found[key] = self._measured(part.name, files) if self._durations else Found(files, None)
        return self._found[key]

    def _measured(self, name: str, files: tuple[Path, ...]) -> Found:
        lengths = of_each_file(
            files, _seconds, workers=self._workers, description=name, progress=self._progress and bool(files)
        )
        unreadable = tuple(file for file, length in zip(files, lengths, strict=True) if not length)
        return Found(files, sum(length or 0.0 for length in lengths), unreadable)


def check(need: Need, shelf: Shelf, stamp: Stamp) -> Report:
    """What of a need is met.

    Args:
        stamp: see `Stamp`.
    """
    there = [root for root in need.roots if root.is_dir()]
    if not there:
        return Report(need, ABSENT, 0, None, (f"{_names(need.roots)}: not there",))
    found = {part.name: shelf.audio(part) for part in need.parts}
    stamps = [stamp(root) for root in there]
    ours = None not in stamps
    unfinished = [f"{root}: not finished; {REPEAT}" for root in there if stamp(root) is False]
    silent = [
        problem
        for part in need.parts
        for problem in _part_problems(part, found[part.name], None if ours else part.amount)
    ]
    present = {str(file) for audio in found.values() for file in audio.files}
    absent = [listing for listing in need.listings if not listing.path.exists()]
    unlisted = list(_absent_listings(absent, ours=ours))
    for listing in need.listings:
        if listing not in absent and listing.named is not None:
            unlisted += _listing_problems(listing, listing.named, present, compared=not ours)
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


def _part_problems(part: Part, found: Found, amount: Amount | None) -> Iterator[str]:
    if not found.files:
        yield f"{part.folder}: no {part.suffix} files" if part.folder.is_dir() else f"{part.folder}: not there"
        return
    if found.unreadable:
        yield f"{part.name}: {len(found.unreadable)} files hold no audio: {_names(found.unreadable)}"
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


def _listing_problems(
    listing: Listing, named: Callable[[Path], Iterator[str]], present: set[str], *, compared: bool
) -> Iterator[str]:
    try:
        names = list(named(listing.path))
    except (OSError, ValueError, KeyError, TypeError) as error:
        yield f"{listing.path}: cannot be read ({error}){_remedy(listing)}"
        return
    if compared and listing.rows is not None and len(names) != listing.rows:
        yield f"{listing.path}: {len(names):,} entries, expected {listing.rows:,}"
    named_once = dict.fromkeys(names)
    lost = [name for name in named_once if not any(str(folder / name) in present for folder in listing.folders)]
    if lost:
        yield f"{listing.path}: names {len(lost):,} audio files that are not there: {_names(lost)}"
    elif not names:
        yield f"{listing.path}: names no audio file{_remedy(listing)}"


def _remedy(listing: Listing) -> str:
    ways = [listing.advice] if listing.advice else ["--make writes it"] if listing.recipe else []
    if listing.in_s3prl:
        folder = Path("s3prl", listing.in_s3prl).parent.as_posix()
        ways.append(f"a git checkout of s3prl has it in {folder} (--make --s3prl CHECKOUT copies it)")
    return f"; {' or '.join(ways)}" if ways else ""


def _names(paths: Sequence[Path | str]) -> str:
    more = f" and {len(paths) - _NAMED:,} more" if len(paths) > _NAMED else ""
    return ", ".join(str(path) for path in paths[:_NAMED]) + more


def _seconds(file: Path) -> float | None:
    """By its header; None for what cannot be read."""
    try:
        info = soundfile.info(str(file))
        return float(info.frames / info.samplerate)
    except (soundfile.LibsndfileError, OSError):
        return None

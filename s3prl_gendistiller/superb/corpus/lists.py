"""Lists of a corpus: missing ones, the audio files that they name, and what s3prl's loaders make of their contents."""

from __future__ import annotations

import csv
import os
import reprlib
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from s3prl_gendistiller.distill.files import refuse_irregular
from s3prl_gendistiller.errors import UserError, few
from s3prl_gendistiller.superb.tasks.needs import Config, Files, Listing, Need

UNREADABLE = (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError, csv.Error)
"""Errors of reading a list that has another form than the expected one."""
REPEAT = "repeat `gendistiller corpus`"


def missing_lists(listings: Sequence[Listing], *, ours: bool) -> Iterator[str]:
    """One line for the missing lists of a folder that are obtained in the same way.

    Args:
        ours: whether `gendistiller corpus` wrote the corpus.
    """
    together: dict[tuple[Path, str], list[str]] = {}
    for listing in listings:
        remedy = f"; {REPEAT}" if ours else _remedy(listing)
        together.setdefault((listing.path.parent, remedy), []).append(listing.path.name)
    for (folder, remedy), names in together.items():
        yield f"{folder}: no {', '.join(names)}{remedy}"


def content_faults(need: Need, files: Files) -> Iterator[str]:
    """Problems of the present lists and folders of a task (`Task.faults`); one line each."""
    lists = [listing.path for listing in need.listings if listing.path.exists()]
    try:
        for path in lists:
            if not path.is_dir():
                refuse_irregular(path, "text")
        yield from need.task.faults(need, files)
    except UserError as error:
        yield str(error)
    except UNREADABLE as error:
        yield f"{need.task.name}: {few(lists)} cannot be read ({type(error).__name__}: {error}); write the lists again"


def listing_faults(listing: Listing, present: set[str], *, compared: bool, config: Config) -> Iterator[str]:
    """Problems of the names in a list of audio files; one line each.

    Args:
        present: the audio files that were found.
        compared: whether to compare the number of entries with the published one.
    """
    if listing.named is None:
        return
    try:
        refuse_irregular(listing.path, "text")
        names = list(listing.named(listing.path))
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


def _origin(listing: Listing, config: Config) -> str:
    """A hint for a list whose audio files are mostly missing: the configuration's key that names the audio's folder."""
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
    """A file that is there and whose name differs from a missing one by case or form of Unicode only."""
    there = {_plain(path): path for path in present}
    for name in lost:
        for folder in listing.folders:
            if other := there.get(_plain(str(folder / name))):
                return f"; {other!r} has another case or Unicode form: rename it"
    return ""


def _plain(path: str) -> str:
    return unicodedata.normalize("NFC", path).casefold()


def _remedy(listing: Listing) -> str:
    ways = [listing.advice] if listing.advice else ["--make writes it"] if listing.made else []
    if listing.in_s3prl:
        folder = Path("s3prl", listing.in_s3prl).parent.as_posix()
        ways.append(f"a git checkout of s3prl has it in {folder} (--make --s3prl CHECKOUT copies it)")
    return f"; {' or '.join(ways)}" if ways else ""

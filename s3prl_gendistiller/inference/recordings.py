"""The recordings that files, folders and lists of files name, each with the name of its features."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePath
from typing import NamedTuple

from s3prl_gendistiller.distill.audio import FORMATS, SUFFIXES
from s3prl_gendistiller.distill.files import files_below
from s3prl_gendistiller.distill.listing import counted
from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.formats.lists import full_lines


class Recording(NamedTuple):
    """One audio file."""

    path: Path
    name: str  # of its features: a relative path with slashes, without suffix


def find_recordings(places: Sequence[Path]) -> list[Recording]:
    """The recordings of audio files, of folders, and of text files with a path in each line.

    The names of a folder's recordings are their paths below it, and begin with its own name where it is not the only
    place. The paths of a list are relative to the folder of the list, and so are the names, where they lie below it.

    Raises:
        UserError: a place does not exist, a folder or list names no audio, or two recordings have one name.
    """
    found: dict[str, Recording] = {}
    for place in places:
        for recording in _recordings(place, alone=len(places) == 1):
            known = found.setdefault(recording.name, recording)
            if known.path.resolve() != recording.path.resolve():
                raise UserError(
                    f"{known.path} and {recording.path}: found the name {recording.name} for the features of both, "
                    "expected different names; give them in two commands, each with its own --out"
                )
    return [*found.values()]


def _recordings(place: Path, *, alone: bool) -> Iterator[Recording]:
    if place.is_dir():
        prefix = PurePath() if alone else PurePath(place.resolve().name)
        others: Counter[str] = Counter()
        paths = [*files_below(place, SUFFIXES, left_out=others)]
        if not paths:
            found = f"found {counted(others)}" if others else "found no file at all"
            raise UserError(f"{place}: no audio files in it; expected {', '.join(SUFFIXES)} at any depth; {found}")
        yield from (Recording(path, _name(prefix / path.relative_to(place))) for path in paths)
    elif place.name.lower().endswith(SUFFIXES):
        if not place.exists():
            raise UserError(f"{place}: no such file; expected audio, a folder, or a list of files; correct the path")
        yield Recording(place, _name(PurePath(place.name)))
    else:
        lines = [line.strip() for line in full_lines(place)]
        if not lines:
            raise UserError(f"{place}: found no line in it, expected the path of an audio file in each line")
        for line in lines:
            if not line.lower().endswith(SUFFIXES):
                raise UserError(f"{place}: found the line {line!r}, expected a path of {FORMATS} in each line")
            path = PurePath(line)
            inside = path.relative_to(place.parent) if path.is_relative_to(place.parent) else path
            below = not inside.is_absolute() and ".." not in inside.parts
            yield Recording(place.parent / path, _name(inside if below else PurePath(path.name)))


def _name(path: PurePath) -> str:
    return path.with_suffix("").as_posix()

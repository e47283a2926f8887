"""Data that a task reads from disk: folders of audio, lists, and the sources from which missing lists are made."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from s3prl_gendistiller.errors import few
from s3prl_gendistiller.formats.lists import full_lines, read_csv
from s3prl_gendistiller.superb.corpus.sizes import Amount

if TYPE_CHECKING:
    from s3prl_gendistiller.superb.tasks.base import Task

EXACT, ALIKE, ANY = "exact", "alike", "any"
"""Audio that s3prl reads right: mono at 16 kHz; mono of one rate; any, which s3prl mixes down and resamples itself."""
LEFT_OUT = "are left out"
"""Words of each message on data that s3prl skips without an error."""

Config = Mapping[str, Any]
"""The section `downstream_expert` of a configuration, its paths filled in."""
Pronounce = Callable[[Iterable[str]], Mapping[str, str]]
"""Words -> their phonemes in ARPAbet with stress, separated by spaces."""


@dataclass(frozen=True)
class AudioFolder:
    """A folder of audio files.

    Attributes:
        folder: the folder, with files at any depth.
        amount: the published size; None where none is published.
        beginnings: beginnings of the file names that count; empty for all names.
        form: `EXACT`, `ALIKE` or `ANY`.
    """

    name: str
    folder: Path
    amount: Amount | None = None
    suffix: str = ".wav"
    beginnings: tuple[str, ...] = ()
    form: str = EXACT


@dataclass(frozen=True)
class Listing:
    """A file or folder beside the audio, mostly a file of labels.

    Attributes:
        made: whether the task's `make` writes the list.
        in_s3prl: path of the list in a git checkout of s3prl, below the package; empty if s3prl has no such list.
        advice: another way to get the list.
        named: function that reads the names of audio files from the list, relative to one of `folders`.
        rows: the published number of entries.
        once: whether the list names each audio file once.
        overlaps: whether other lists of the task have the same entries.
    """

    path: Path
    made: bool = False
    in_s3prl: str = ""
    advice: str = ""
    named: Callable[[Path], Iterator[str]] | None = None
    folders: tuple[Path, ...] = ()
    rows: int | None = None
    once: bool = True
    overlaps: bool = False


@dataclass(frozen=True)
class Need:
    """Everything that one task reads: folders of its corpus, audio, lists, and the configuration that names them."""

    task: Task
    roots: tuple[Path, ...]
    audio: Sequence[AudioFolder]
    listings: Sequence[Listing]
    config: Config


Files = Callable[[AudioFolder], Sequence[Path]]
"""The audio files of a folder."""


@dataclass(frozen=True)
class Sources:
    """Sources of lists: the package folder of a git checkout of s3prl, a checkout of LibriMix, and pronunciations."""

    s3prl: Path | None = None
    librimix: Path | None = None
    pronounce: Pronounce | None = None


def fault(where: object, items: Collection[object], what: str, remedy: str = "") -> Iterator[str]:
    """A message on some of the files or lines of a place; no message without any."""
    if items:
        yield f"{where}: {len(items):,} {what}: {few(items)}{remedy}"


def columns(*numbers: int) -> Callable[[Path], Iterator[str]]:
    """A reader of the paths in some columns of a list."""

    def named(path: Path) -> Iterator[str]:
        for fields in map(str.split, full_lines(path)):
            yield from (fields[number] for number in numbers if number < len(fields))

    return named


def csv_column(name: str) -> Callable[[Path], Iterator[str]]:
    """A reader of the paths in one column of a CSV file."""

    def named(path: Path) -> Iterator[str]:
        rows = read_csv(path)
        for row in rows:
            if not row.get(name):
                raise ValueError(f"no {name} in line {rows.line_num}")
            yield row[name]

    return named

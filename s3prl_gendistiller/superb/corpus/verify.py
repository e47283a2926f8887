"""Compares the archives of corpora with their published sizes and checksums."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.superb.corpus.source import Archive, Source

SAME, OTHER, UNKNOWN = "as published", "not as published", "cannot be compared"
_BLOCK_BYTES = 2**22


@dataclass(frozen=True)
class Verdict:
    """What was found of one archive.

    Attributes:
        state: `SAME`, `OTHER`, or `UNKNOWN` where neither size nor checksum is known.
        found: what was found and what was expected, in words.
    """

    archive: Archive
    state: str
    found: str


def verify(folder: Path, sources: Iterable[Source], *, progress: bool = True) -> Iterator[Verdict]:
    """A verdict on each archive that is in the folder; UserError for a folder that is not there, or holds none."""
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; give the folder that holds the archives of the corpora")
    known = [archive for source in sources for archive in (*source.archives, *source.others)]
    there = [archive for archive in known if (folder / archive.name).is_file()]
    if not there:
        names = ", ".join(archive.name for archive in known)
        raise UserError(
            f"{folder}: found none of the archives, expected some of {names}; give the folder that has them"
        )
    for archive in there:
        yield _verdict(folder / archive.name, archive, progress=progress)


def missing(folder: Path, source: Source) -> list[str]:
    """Names of the archives of a corpus that are not in the folder; none if another form of the corpus is there."""
    if any((folder / archive.name).is_file() for archive in source.others):
        return []
    return [archive.name for archive in source.archives if not (folder / archive.name).is_file()]


def _verdict(path: Path, archive: Archive, *, progress: bool) -> Verdict:
    size = path.stat().st_size
    if archive.size is not None and size != archive.size:
        expected = f"found {size:,} bytes, expected {archive.size:,}"
        return Verdict(archive, OTHER, f"{expected}; the download is not whole, or is another file: get it again")
    if not archive.checksum:
        return Verdict(archive, UNKNOWN, f"{size:,} bytes; no checksum is known")
    digits = checksum(path, archive.algorithm, progress=progress)
    if digits == archive.checksum:
        return Verdict(archive, SAME, f"{size:,} bytes, {archive.algorithm.upper()} {digits}")
    expected = f"found {archive.algorithm.upper()} {digits}, expected {archive.checksum}"
    return Verdict(archive, OTHER, f"{expected}; get the archive again")


def checksum(path: Path, algorithm: str, *, progress: bool = False) -> str:
    """Hexadecimal digits of the MD5 or SHA-256 of a file, read in blocks; UserError if it cannot be read."""
    digest = hashlib.new(algorithm, usedforsecurity=False)
    bar = tqdm(total=path.stat().st_size, desc=path.name, unit="B", unit_scale=True, disable=not progress)
    try:
        with path.open("rb") as file, bar:
            while block := file.read(_BLOCK_BYTES):
                digest.update(block)
                bar.update(len(block))
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); get the archive again") from error
    return digest.hexdigest()

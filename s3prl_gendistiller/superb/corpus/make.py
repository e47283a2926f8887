"""Writes the lists beside a corpus that are missing and follow from it; no file that is there is written again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.outputs import write_text
from s3prl_gendistiller.superb.tasks.needs import Listing, Need, Pronounce, Sources


def find_sources(s3prl: Path | None, librimix: Path | None, pronounce: Pronounce | None = None) -> Sources:
    """UserError if a folder is not a checkout of the repository that its flag names."""
    package = None
    if s3prl is not None:
        homes = (s3prl / "s3prl", s3prl)
        package = next((folder for folder in homes if (folder / "downstream" / "ctc").is_dir()), None)
        if package is None:
            raise UserError(f"--s3prl {s3prl}: found no downstream/ctc, expected a git checkout of s3prl")
    if librimix is not None and not (librimix / "metadata" / "LibriSpeech").is_dir():
        raise UserError(f"--librimix {librimix}: found no metadata/LibriSpeech, expected a git checkout of LibriMix")
    return Sources(package, librimix, pronounce)


def make(need: Need, sources: Sources, *, progress: bool = True) -> Iterator[str]:
    """Writes the missing lists of a task; yields one line for each list, and for each folder that cannot be done."""
    if not any(root.is_dir() for root in need.roots):
        return
    by_folder: dict[Path, list[Listing]] = {}
    for listing in (listing for listing in need.listings if not listing.path.exists()):
        copied = None if sources.s3prl is None or not listing.in_s3prl else sources.s3prl / listing.in_s3prl
        if copied is not None and copied.is_file():
            write_text(listing.path, copied.read_text(encoding="utf-8"))
            yield f"{listing.path}: from {copied}"
        elif listing.made:
            by_folder.setdefault(listing.path.parent, []).append(listing)
    for wanted in by_folder.values():
        try:
            yield from need.task.make(need, wanted, sources, progress)
        except UserError as error:  # the other folders are written all the same
            yield f"not written: {error}"

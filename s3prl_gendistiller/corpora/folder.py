"""Corpus folders of this package: their plans and their writing, from the stamp at first to the checksums at the end.

`synthetic.json` is the stamp with the recipe: the same recipe gives the same bytes. `SHA256SUMS` has one line for each
file, as `sha256sum -c` reads it; only a complete corpus has it.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from s3prl_gendistiller.corpora.clips import Clip
from s3prl_gendistiller.corpora.recording import Recorder, files_of
from s3prl_gendistiller.distill.files import within
from s3prl_gendistiller.documents import parse_json
from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.outputs import PARTS, write_text

STAMP = "synthetic.json"
SUMS = "SHA256SUMS"
README = "README.md"
FORMAT_VERSION = 2
_BLOCK = 1 << 20

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class CorpusPlan:
    """One folder in the official layout of a corpus."""

    name: str  # name of the folder, below the folder that SUPERB_DATA names
    recipe: Mapping[str, Any]  # everything that decides the content, as JSON
    clips: Sequence[Clip]
    texts: Callable[[Path], Mapping[str, str]]  # folder with its audio -> text files: path below it -> content
    about: str  # content of the folder and differences to the real corpus, for README.md


class Damage(NamedTuple):
    """A file that is missing or was changed after it was written."""

    path: Path
    found: str


def write_plans(out: Path, plans: Sequence[CorpusPlan], recorder: Recorder) -> list[Path]:
    """Writes corpora, finishes interrupted ones, repairs damaged ones; returns their folders.

    Raises:
        UserError: a folder holds something else (nothing is written then) or is not writable, or espeak-ng is missing.
    """
    for plan in plans:
        _refuse_other(out / plan.name, plan.recipe)
    return [_write(out / plan.name, plan, recorder) for plan in plans]


def _write(root: Path, plan: CorpusPlan, recorder: Recorder) -> Path:
    if not is_ours(root):
        write_text(root / STAMP, _stamp(plan.recipe))
    for file in _mend(root):
        logger.warning("%s: %s; written again", file.path, file.found)
    recorder.record(root, plan.clips)
    texts = {README: f"# {plan.name}\n\n{plan.about.strip()}\n", **plan.texts(root)}
    for name, text in texts.items():
        write_text(root / name, text)
    audio = [file.relative_to(root).as_posix() for clip in plan.clips for file in files_of(root, clip)]
    sums = "".join(f"{_digest(root / name)}  {name}\n" for name in sorted({*audio, *texts, STAMP}))
    write_text(root / SUMS, sums)  # only a complete corpus has checksums
    return root


def _refuse_other(root: Path, recipe: Mapping[str, Any]) -> None:
    """Raises a UserError if the folder holds something else, such as a real corpus, or speech of another recipe."""
    stamp = root / STAMP
    try:
        found = stamp.read_text(encoding="utf-8") if stamp.exists() else None
        occupied = found is None and root.exists() and (not root.is_dir() or any(root.iterdir()))
    except OSError as error:
        raise UserError(f"{root}: cannot be read ({error.strerror}); choose another output folder") from error
    if occupied:
        raise UserError(f"{root}: not empty and not written by this command; choose another output folder")
    if found is not None and found != _stamp(recipe):
        raise UserError(
            f"{stamp}: another synthetic corpus is here{_difference(found, recipe)}; "
            f"remove {root} or choose another output folder"
        )


def size_fields(size: NamedTuple) -> dict[str, Any]:
    """The fields of a size for a recipe, without those that are None: a folder of before such a field stays valid."""
    return {name: value for name, value in size._asdict().items() if value is not None}


def is_sealed(root: Path) -> bool:
    """Whether the corpus is complete."""
    return (root / SUMS).is_file()


def is_ours(root: Path) -> bool:
    """Whether the folder has a stamp of this package."""
    return (root / STAMP).is_file()


def damage(root: Path) -> list[Damage]:
    """The missing and changed files of a sealed corpus; raises a UserError if its checksums cannot be read."""
    found = [(within(root, name, str(root / SUMS)), digest) for name, digest in _sums(root).items()]
    missing = [Damage(path, "missing") for path, _ in found if not path.is_file()]
    gone = {path for path, _ in missing}
    return missing + [
        Damage(path, "corrupted") for path, digest in found if path not in gone and _digest(path) != digest
    ]


def count(root: Path) -> int:
    """Number of files that have checksums."""
    return len(_sums(root))


def _mend(root: Path) -> list[Damage]:
    """Removes damaged files, so that they are written again, and parts of killed processes; returns the damage."""
    for path in root.rglob(PARTS):
        if not _is_running(path.name.rpartition("-")[2]):
            path.unlink(missing_ok=True)
    if not is_sealed(root):
        return []
    damaged = damage(root)
    for file in damaged:
        file.path.unlink(missing_ok=True)
    return damaged


def _is_running(process_id: str) -> bool:
    if os.name != "posix" or not process_id.isdecimal():
        return False
    try:
        os.kill(int(process_id), 0)  # signal 0 only checks that the process exists
    except OSError:
        return False
    return True


def _stamp(recipe: Mapping[str, Any]) -> str:
    return json.dumps({"format": FORMAT_VERSION, **recipe}, indent=2) + "\n"


def _sums(root: Path) -> dict[str, str]:
    path = root / SUMS
    try:
        rows = [line.split("  ", 1) for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read ({error}); repeat the command that wrote the corpus") from error
    if not rows or any(len(row) != 2 or len(row[0]) != 64 for row in rows):
        raise UserError(
            f"{path}: corrupted, expected a checksum and a path a line; remove it and repeat the command "
            "that wrote the corpus"
        )
    return {name: digest for digest, name in rows}


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    try:
        with open(path, "rb") as file:
            while block := file.read(_BLOCK):
                digest.update(block)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); repair or remove it") from error
    return digest.hexdigest()


def _difference(found: str, recipe: Mapping[str, Any]) -> str:
    """The first key of the recipe that differs, with both values, in brackets; empty if the stamp is unreadable."""
    try:
        there = parse_json(found, "recipe")
    except UserError:
        return ""
    if not isinstance(there, dict):
        return ""
    recipe = {"format": FORMAT_VERSION, **recipe}
    for key in [*recipe, *there]:
        if there.get(key) != recipe.get(key):
            return f" ({key} {json.dumps(there.get(key))}, asked for {json.dumps(recipe.get(key))})"
    return ""

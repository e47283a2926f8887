"""Reading checkpoints without running code in them.

A checkpoint of run_pretrain.py is the file that s3prl's Runner writes (`Optimizer`, `Step`, `Args`, `Config`) with
further entries: the student's weights under the key of its kind (`StudentKind.weights`), `Upstream_Config`, `Progress`,
`RNG` and `Format_Version`. It is loaded with ``weights_only=True`` and a fixed allow-list.
"""

from __future__ import annotations

import argparse
import functools
import logging
import pickle
import re
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch

from s3prl_gendistiller.config_objectives import OBJECTIVES
from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.host import compat
from s3prl_gendistiller.student_kinds import DEFAULT_KIND, STUDENT_KINDS, StudentKind, kind_of_weights

REGULAR, BEST = "states-*.ckpt", "*best*.ckpt"  # names of checkpoints in a run's folder

FORMAT_VERSION = 1
OBJECTIVE_PACKAGES = "Objective_Packages"
"""Key of the packages that brought the objectives of a run, "package version" by the objective's name."""
NO_CHECKPOINT = "not a checkpoint; expected a file written by torch.save; name another one"
MAX_COUNT = 2**40
NAMES = {int: "a whole number", dict: "a mapping", argparse.Namespace: "the arguments of a run"}
ENTRIES: dict[str, type] = {
    **dict.fromkeys(("Step", "Epoch", "WorldSize", "Format_Version"), int),
    **dict.fromkeys(("Config", "Upstream_Config", "Optimizer", "Scheduler"), dict),
    **dict.fromkeys(("Progress", "RNG", "Fingerprints", "Objectives", OBJECTIVE_PACKAGES), dict),
    **dict.fromkeys(("Upstream", "Featurizer", "Downstream"), dict),
    "Args": argparse.Namespace,
}
"""Types of the entries that s3prl's Runners and the tasks of this package store."""

logger = logging.getLogger(__name__)
T = TypeVar("T")


class BrokenCheckpoint(UserError):
    """A file that is not whole; an older checkpoint may be whole."""


class UnsafeCheckpoint(UserError):
    """A file that would run code when it is loaded.

    `name` is the function that would be called, such as "posix.system", or the reader's message.
    """

    def __init__(self, message: str, name: str) -> None:
        super().__init__(message)
        self.name = name


def read_checkpoint(path: str | Path, *, mmap: bool = False) -> dict[str, Any]:
    """Loads a checkpoint on the CPU after comparing every part of it with its check sum.

    `mmap` leaves the tensors on disk until they are read, for reading `Step` or `Args` alone.

    Raises:
        BrokenCheckpoint: the file is truncated or damaged, or no checkpoint at all.
        UserError: the file is missing or no regular file, needs code that is not on the allow-list, was written by a
            later version, or holds an entry of another type than a Runner stores.
    """
    path = _regular(path)
    damage = _damage(path, _stamp(path))
    if damage is not None:
        raise _broken(path, damage)
    return _load(path, mmap)


def _regular(path: str | Path) -> Path:
    path = Path(path)
    if path.is_dir():
        raise UserError(f"{path}: found a folder, expected a checkpoint file; {_inside(path)}")
    if not path.exists():
        raise UserError(f"{path}: no such checkpoint; expected a file written by run_pretrain.py or run_downstream.py")
    if not path.is_file():  # reading a pipe would never end
        raise UserError(f"{path}: found a pipe or a device, expected a checkpoint file; name another one")
    return path


def _stamp(path: Path) -> tuple[int, ...]:
    """Inode, size and time of change, which differ after a file is written again."""
    found = path.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns


@functools.lru_cache(maxsize=256)
def _damage(path: Path, stamp: tuple[int, ...]) -> str | None:
    """Damage of a file, if any; `torch.load` itself reads a zeroed block as numbers."""
    try:
        if not zipfile.is_zipfile(path):
            return None  # an old format without check sums, or no checkpoint: loading the file decides
        with zipfile.ZipFile(path) as archive:
            if any(part.compress_type != zipfile.ZIP_STORED for part in archive.infolist()):
                return "its parts are compressed"  # torch.save never compresses; a few bytes could become terabytes
            part = archive.testzip()
    except (OSError, zipfile.BadZipFile, EOFError, ValueError, NotImplementedError, RuntimeError) as error:
        return _first_line(error)
    return None if part is None else f"the check sum of {part} is wrong"


def _load(path: Path, mmap: bool) -> dict[str, Any]:
    compat.supply_safe_globals()  # one allow-list, also for the host's own torch.load
    try:
        states = torch.load(path, map_location="cpu", weights_only=True, mmap=mmap and zipfile.is_zipfile(path))
    except pickle.UnpicklingError as error:
        raise _refusal(path, error) from error
    except PermissionError as error:
        raise UserError(f"{path}: cannot be read (no permission), expected a checkpoint; change its mode") from error
    except Exception as error:  # arbitrary bytes make the unpickler of torch fail in arbitrary ways
        raise _broken(path, _first_line(error)) from error
    if not isinstance(states, dict):
        raise UserError(f"{path}: found {type(states).__name__}, expected a checkpoint of s3prl's Runner")
    _check_entries(states, path)
    return states


def _broken(path: Path, reason: str) -> BrokenCheckpoint:
    with path.open("rb") as file:
        if file.read(2) != b"PK":  # no version of torch.save in use writes other bytes
            return BrokenCheckpoint(f"{path}: {NO_CHECKPOINT}")
    return BrokenCheckpoint(
        f"{path}: not a whole checkpoint ({path.stat().st_size} bytes, {reason}); "
        "expected a file that torch.save finished; use an older one"
    )


def _check_entries(states: Mapping[str, Any], path: Path) -> None:
    """Refuses entries of another type than Runners write, and files of a later format of this package."""
    weights = dict.fromkeys((kind.weights for kind in STUDENT_KINDS.values()), dict)
    for name, expected in {**ENTRIES, **weights}.items():
        if name not in states:
            continue
        value = states[name]
        if not isinstance(value, expected) or isinstance(value, bool):
            found, words = type(value).__name__, NAMES[expected]
            raise UserError(f"{path}: found {found} as {name}, expected {words}; use another file")
        if isinstance(value, int) and not 0 <= value <= MAX_COUNT:
            raise UserError(f"{path}: found {name} out of range, expected 0 to {MAX_COUNT}; use another file")
    version = states.get("Format_Version", 0)
    if version > FORMAT_VERSION:
        raise UserError(
            f"{path}: found format {version}, expected at most {FORMAT_VERSION}; upgrade s3prl-gendistiller"
        )


def _inside(folder: Path) -> str:
    """Advice on the file to name in place of a folder."""
    files = sorted(folder.glob(REGULAR), key=lambda path: path.stat().st_mtime)
    if files:
        return f"name one in it, such as {files[-1].name}"
    model = ", but a model of transformers" if (folder / "config.json").is_file() else ""
    return f"it holds no states-*.ckpt{model}; name another place"


def student_kind(states: dict[str, Any], path: str | Path) -> StudentKind:
    """The kind of the student in a checkpoint; UserError if there is no student, or no configuration of its model."""
    kind = kind_of_weights(states)
    if kind is None:
        keys = " or ".join(kind.weights for kind in STUDENT_KINDS.values())
        raise UserError(
            f"{path}: found {', '.join(map(str, sorted(states, key=str)[:8])) or 'nothing'}, expected the weights of a "
            f"student (key {keys}); give a checkpoint that run_pretrain.py -u {DEFAULT_KIND} wrote"
        )
    if "Upstream_Config" not in states:
        raise UserError(
            f"{path}: found no Upstream_Config beside the weights, so the student's shape is unknown; a checkpoint of "
            "s3prl's own distiller loads with run_downstream.py -u distiller_local"
        )
    for name, package in states.get(OBJECTIVE_PACKAGES, {}).items():
        if name not in OBJECTIVES:
            raise UserError(
                f"{path}: the student was trained with the objective {str(name)[:80]} of the package "
                f"{str(package)[:80]}, which is not installed here; install that package, or use the student on the "
                "machine that has it"
            )
    return kind


def stored_step(path: str | Path) -> int:
    """The optimiser step in a checkpoint; the tensors are not read. UserError if the checkpoint holds no step."""
    return _step(_load(_regular(path), mmap=True), path)


def whole_step(path: Path) -> int | None:
    """The step in a whole checkpoint; None for a file that is broken, with a warning, or deleted.

    UserError: the checkpoint is whole and of no use.
    """
    return _unless_broken(lambda path: _step(read_checkpoint(path, mmap=True), path), path)


def _step(states: Mapping[str, Any], path: str | Path) -> int:
    step = states.get("Step")
    if step is None:
        raise UserError(f"{path}: found no Step in it, expected a checkpoint of s3prl's Runner")
    return int(step)


def _unless_broken(read: Callable[[Path], T], path: Path) -> T | None:
    """The result of `read`; None for a broken file, with a warning, and for a file that a running training deleted."""
    try:
        return read(path)
    except BrokenCheckpoint as error:
        logger.warning("skipped %s", error)
    except (UserError, FileNotFoundError):
        if path.exists():
            raise
    return None


def newest_checkpoint(folder: str | Path) -> Path | None:
    """The whole checkpoint with the highest stored step in a run's folder; broken files are skipped with a warning.

    If no states-*.ckpt is whole, the checkpoint that was best on dev is taken; run_downstream.py stores the same in it.
    The step inside a file decides, not the file's name: s3prl itself, and earlier versions of this package, name the
    last checkpoint of a distillation states-epoch-N. A file that a running training deletes meanwhile counts as absent.
    """
    for pattern in (REGULAR, BEST):
        ages: dict[Path, tuple[int, float]] = {}
        for path in sorted(path for path in Path(folder).glob(pattern) if path.is_file()):
            age = _unless_broken(lambda path: (stored_step(path), path.stat().st_mtime), path)
            if age is not None:
                ages[path] = age
        for path in sorted(ages, key=ages.__getitem__, reverse=True):
            if whole_step(path) is not None:
                return path
    return None


def newest_student(root: str | Path, *kinds: str) -> Path | None:
    """The newest checkpoint of the run below `root` that last wrote a student of one of `kinds`.

    Runs are ordered by the time of their last checkpoint, checkpoints inside a run by the stored step.
    """
    written: dict[Path, float] = {}
    for path in Path(root).rglob(REGULAR):
        time = _unless_broken(lambda path: path.stat().st_mtime, path) or 0.0
        written[path.parent] = max(written.get(path.parent, 0.0), time)
    for folder in sorted(written, key=lambda folder: written[folder], reverse=True):
        newest = newest_checkpoint(folder)
        kind = None if newest is None else kind_of_weights(read_checkpoint(newest, mmap=True))
        if kind is not None and kind.name in kinds:
            return newest
    return None


def _refusal(path: Path, error: pickle.UnpicklingError) -> UserError:
    wanted = re.search(r"(?:GLOBAL|global) ([\w.]+)", str(error))
    if not zipfile.is_zipfile(path) and wanted is None:
        return _broken(path, _first_line(error))
    name = wanted.group(1) if wanted else _first_line(error)
    return UnsafeCheckpoint(
        f"{path}: refused, loading it would call {name}; expected tensors and plain values only. "
        "Do not use the file unless you know where it comes from; nothing in it was run",
        name,
    )


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).strip().splitlines()[0][:160]

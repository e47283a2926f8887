"""Reading checkpoints without running anything that stands in them.

A checkpoint of ours is the file that s3prl's Runner writes (`Optimizer`, `Step`, `Args`, `Config`) plus the student's
weights under `GenDistiller` (or `Distiller`, the key that s3prl's `distiller_local` reads), `Upstream_Config`,
`Progress`, `RNG` and `Format_Version`. It is loaded with ``weights_only=True`` and a fixed allow-list.
"""

from __future__ import annotations

import logging
import pickle
import re
import zipfile
from pathlib import Path
from typing import Any

import torch

from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.host import compat

FORMAT_VERSION = 1
WEIGHT_KEYS = {"gendistiller": "GenDistiller", "distilhubert": "Distiller"}

logger = logging.getLogger(__name__)


class BrokenCheckpoint(UserError):
    """The file is not whole; an older one may be."""


class UnsafeCheckpoint(UserError):
    """Loading the file would call something.

    Args:
        message: for the user.
        name: what would be called, such as "posix.system"; or what the reader said where that is not known.
    """

    def __init__(self, message: str, name: str) -> None:
        super().__init__(message)
        self.name = name


def read_checkpoint(path: str | Path, *, mmap: bool = False) -> dict[str, Any]:
    """Loads a checkpoint on the CPU.

    Args:
        path: the file.
        mmap: leave the tensors on disk until they are touched; for reading `Step` or `Args` alone.

    Raises:
        BrokenCheckpoint: the file is truncated or no checkpoint at all.
        UserError: the file is missing, or needs code that is not on the allow-list.
    """
    path = Path(path)
    if path.is_dir():
        raise UserError(f"{path}: found a folder, expected a checkpoint file; {_inside(path)}")
    if not path.is_file():
        raise UserError(f"{path}: no such checkpoint; expected a file written by run_pretrain.py or run_downstream.py")
    compat.supply_safe_globals()  # the one allow-list, shared with the host's own torch.load
    try:
        states = torch.load(path, map_location="cpu", weights_only=True, mmap=mmap and zipfile.is_zipfile(path))
    except pickle.UnpicklingError as error:
        raise _refusal(path, error) from error
    except (RuntimeError, EOFError, ValueError, KeyError, OSError) as error:
        raise BrokenCheckpoint(
            f"{path}: not a whole checkpoint ({path.stat().st_size} bytes, {_first_line(error)}); "
            "expected a file that torch.save finished; use an older one"
        ) from error
    if not isinstance(states, dict):
        raise UserError(f"{path}: found {type(states).__name__}, expected a checkpoint of s3prl's Runner")
    return states


def _inside(folder: Path) -> str:
    """What to name in place of a folder."""
    files = sorted(folder.glob("states-*.ckpt"), key=lambda path: path.stat().st_mtime)
    if files:
        return f"name one in it, such as {files[-1].name}"
    model = ", but a model of transformers" if (folder / "config.json").is_file() else ""
    return f"it holds no states-*.ckpt{model}; name another place"


def student_kind(states: dict[str, Any], path: str | Path) -> str:
    """ "gendistiller" or "distilhubert", by the weights that the checkpoint holds.

    Raises:
        UserError: it holds neither, lacks the model configuration, or was written by a later version.
    """
    kinds = [kind for kind, key in WEIGHT_KEYS.items() if key in states]
    if not kinds:
        raise UserError(
            f"{path}: found {', '.join(map(str, sorted(states, key=str)[:8])) or 'nothing'}, expected the weights of a "
            "student (key GenDistiller); give a checkpoint that run_pretrain.py -u gendistiller wrote"
        )
    if "Upstream_Config" not in states:
        raise UserError(
            f"{path}: found no Upstream_Config beside the weights, so the student's shape is unknown; a checkpoint of "
            "s3prl's own distiller loads with run_downstream.py -u distiller_local"
        )
    version = states.get("Format_Version", 0)
    if version > FORMAT_VERSION:
        raise UserError(
            f"{path}: found format {version}, expected at most {FORMAT_VERSION}; upgrade s3prl-gendistiller"
        )
    return kinds[0]


def stored_step(path: str | Path) -> int:
    """The optimiser step that a checkpoint holds.

    Raises:
        UserError: as `read_checkpoint`, or there is no step in it.
    """
    step = read_checkpoint(path, mmap=True).get("Step")
    if not isinstance(step, int):
        raise UserError(f"{path}: found no Step in it, expected a checkpoint of s3prl's Runner")
    return step


def newest_checkpoint(folder: str | Path) -> Path | None:
    """The whole checkpoint with the highest stored step in a run's folder; broken files are skipped with a warning.

    Where no states-* is whole, the one that was best on dev: run_downstream.py stores the same in it, and deletes the
    oldest states-* before it writes the next one, so that with `max_keep: 1` a kill leaves nothing else.

    File names are not trusted: s3prl calls the last one of a run states-epoch-N, which sorts before states-1000.
    """
    for pattern in ("states-*.ckpt", "*best*.ckpt"):
        steps: dict[Path, int] = {}
        for path in sorted(Path(folder).glob(pattern)):
            try:
                steps[path] = stored_step(path)
            except BrokenCheckpoint as error:
                logger.warning("skipped %s", error)
        if steps:
            return max(steps, key=lambda path: (steps[path], path.stat().st_mtime))
    return None


def newest_student(root: str | Path, kind: str) -> Path | None:
    """The newest checkpoint of the run under `root` that wrote a student of `kind` last.

    Runs are ordered by when they last wrote a checkpoint; inside a run the stored step decides.
    """
    written: dict[Path, float] = {}
    for path in Path(root).glob("*/states-*.ckpt"):
        written[path.parent] = max(written.get(path.parent, 0.0), path.stat().st_mtime)
    for folder in sorted(written, key=lambda folder: written[folder], reverse=True):
        newest = newest_checkpoint(folder)
        if newest is not None and WEIGHT_KEYS[kind] in read_checkpoint(newest, mmap=True):
            return newest
    return None


def _refusal(path: Path, error: pickle.UnpicklingError) -> UserError:
    wanted = re.search(r"(?:GLOBAL|global) ([\w.]+)", str(error))
    if not zipfile.is_zipfile(path) and wanted is None:  # bytes that no version of torch.save writes
        return BrokenCheckpoint(f"{path}: not a checkpoint; expected a file written by torch.save; name another one")
    name = wanted.group(1) if wanted else _first_line(error)
    return UnsafeCheckpoint(
        f"{path}: refused, loading it would call {name}; expected tensors and plain values only. "
        "Do not use the file unless you know where it comes from; nothing in it was run",
        name,
    )


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).strip().splitlines()[0][:160]

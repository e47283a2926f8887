"""Going on with a run: which checkpoint it is, and which flags must equal those that the run began with."""

from __future__ import annotations

import argparse
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.host.checkpoint import newest_checkpoint, read_checkpoint
from s3prl_gendistiller.host.overrides import Overrides

logger = logging.getLogger(__name__)


def refuse_to_overwrite(folder: Path, auto: bool = False) -> None:
    """Refuses a folder with checkpoints of an earlier run, which s3prl would delete one by one.

    Args:
        auto: ``-a`` was given and found no whole checkpoint; see `set_aside`.
    """
    found = sorted(folder.glob("states-*.ckpt"))
    if found and not auto:
        raise UserError(
            f"{folder}: holds {len(found)} checkpoints of an earlier run ({found[-1].name}); expected a new folder. "
            "Add -a to go on with it, or give another -n"
        )


def checkpoint_to_resume(past: str | None, auto: bool, folder: Path | None, program: str) -> Path | None:
    """The checkpoint that ``-e PATH`` or ``-a`` names: of a folder the newest whole one, by the step stored inside.

    Args:
        program: launcher that goes on with the run.

    Raises:
        UserError: ``-e`` names a folder without a whole checkpoint, or no training checkpoint of this launcher.
    """
    chosen: Path | None = None
    if past is not None:
        chosen = newest_checkpoint(past) if Path(past).is_dir() else Path(past)
        if chosen is None:
            raise UserError(f"-e {past}: found no whole states-*.ckpt in this folder; name a run that has saved one")
    elif auto and folder is not None and folder.is_dir():
        chosen = newest_checkpoint(folder)
    if chosen is not None:
        check_resumable(chosen, program)
    return chosen


def set_aside(folder: Path) -> None:
    """Renames the broken checkpoints of a run that was killed in its first save, so that the run can begin again."""
    broken = sorted(path for pattern in ("states-*.ckpt", "*best*.ckpt") for path in folder.glob(pattern))
    for path in broken:
        path.replace(path.with_name(f"{path.name}.broken"))
    if broken:
        names = ", ".join(path.name for path in broken)
        logger.warning("-a: found no whole checkpoint in %s: begins again, %s put aside as .broken", folder, names)


def check_resumable(checkpoint: Path, program: str) -> None:
    """
    Args:
        program: launcher that goes on with the run.

    Raises:
        UserError: the file is no checkpoint of s3prl's Runner, or belongs to the other launcher.
    """
    states = read_checkpoint(checkpoint, mmap=True)
    missing = [key for key in ("Optimizer", "Step", "Args", "Config") if key not in states]
    if missing:
        raise UserError(f"{checkpoint}: found no {', '.join(missing)} in it, expected a checkpoint of s3prl's Runner")
    of_downstream = "Downstream" in states
    if not of_downstream and "Upstream_Config" not in states:
        return  # a run of s3prl's own, or of an older version: the launcher is not known
    wrote = "run_downstream.py" if of_downstream else "run_pretrain.py"
    if wrote != program:
        use = "" if of_downstream else "; run_downstream.py -k evaluates its student"
        raise UserError(
            f"-e {checkpoint}: found a run of {wrote}, expected one of {program}; python {wrote} -e {checkpoint} goes "
            f"on with it{use}"
        )


def resume_overrides(begun: argparse.Namespace, checkpoint: Path, overrides: Overrides, device: str) -> str:
    """``-o`` for s3prl: the present device and folder in place of the stored ones, then the user's own.

    Args:
        begun: arguments in the checkpoint.

    Raises:
        UserError: a flag has no effect on a run that goes on.
    """
    for name in ("config", "expname", "init_ckpt", "upstream_config"):
        if name in overrides.flags:
            raise UserError(f"-o: found args.{name}, which has no effect on a run that goes on; leave it out")
    folder = str(checkpoint.resolve().parent)
    before = getattr(begun, "expdir", None)
    moved = {"expdir": folder} if before is None or str(Path(before).resolve()) != folder else {}
    given = {name: value for name, value in overrides.flags.items() if name not in ("device", "mode")}
    return Overrides({"device": device, **moved, **given}, overrides.keys).text()


def refuse_other_than_begun(
    args: argparse.Namespace, flags: Mapping[str, str], begun: argparse.Namespace, checkpoint: Path
) -> None:
    """Refuses a flag whose value differs from the stored one: s3prl would take the stored one in silence.

    Args:
        flags: flags by their destination in s3prl's arguments.
        begun: arguments in the checkpoint.

    Raises:
        UserError: names the flag and both values.
    """
    for name, flag in flags.items():
        value = getattr(args, name)
        if value is None or value is False or name in args.overrides.flags:  # `-o` is applied
            continue
        stored = getattr(begun, name, value)
        if stored != value and not _same_file(stored, value):
            raise UserError(
                f"{flag}: found {value}, but the run of {checkpoint} began with {stored}; leave the flag out, or begin "
                "another run with -n"
            )


def _same_file(one: Any, other: Any) -> bool:
    return isinstance(one, str) and isinstance(other, str) and os.path.realpath(one) == os.path.realpath(other)

"""Resuming a run: the choice of its checkpoint, and the flags that must equal those of the run's begin."""

from __future__ import annotations

import argparse
import difflib
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from s3prl_gendistiller.cli import shell
from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.host.checkpoint import BEST, REGULAR, newest_checkpoint, read_checkpoint
from s3prl_gendistiller.host.overrides import Overrides
from s3prl_gendistiller.student_kinds import kind_of_weights

logger = logging.getLogger(__name__)


def refuse_to_overwrite(folder: Path, auto: bool = False) -> None:
    """Refuses a folder with checkpoints of an earlier run, which s3prl would delete one by one."""
    found = sorted(folder.glob(REGULAR))
    if found and not auto:  # with ``-a``, no checkpoint is whole: see `set_aside`
        raise UserError(
            f"{folder}: holds {len(found)} checkpoints of an earlier run ({found[-1].name}); expected a new folder. "
            "Add -a to go on with it, or give another -n"
        )


def checkpoint_to_resume(past: str | None, auto: bool, folder: Path | None, program: str) -> Path | None:
    """The checkpoint that ``-e PATH`` or ``-a`` names: of a folder the newest whole one, by the step stored inside.

    Raises:
        UserError: ``-e`` names a folder without a whole checkpoint, or no checkpoint of the launcher `program`.
    """
    if past is None:
        chosen = newest_checkpoint(folder) if auto and folder is not None and folder.is_dir() else None
    else:
        chosen = newest_checkpoint(past) if Path(past).is_dir() else Path(past)
        if chosen is None:
            raise UserError(f"-e {past}: found no whole states-*.ckpt in this folder; name a run that has saved one")
    if chosen is not None:
        check_resumable(chosen, program)
    return chosen


def set_aside(folder: Path) -> None:
    """Renames the broken checkpoints of a run that was killed in its first save, so that the run can begin again."""
    if broken := _checkpoints(folder):
        for path in broken:
            path.replace(path.with_name(f"{path.name}.broken"))
        names = ", ".join(path.name for path in broken)
        logger.warning("-a: found no whole checkpoint in %s: begins again, %s put aside as .broken", folder, names)


def named_folder(args: argparse.Namespace, results: Path) -> Path | None:
    """The folder that the command names, if it names one."""
    if args.expdir:
        return Path(args.expdir)
    return results / args.expname if args.expname else None


def say_that_it_begins(folder: Path) -> None:
    """Says that ``-a`` has found nothing to go on with: before all checks, because the name may be misspelt."""
    if _checkpoints(folder):
        return  # `set_aside` names them
    runs = sorted({path.parent.name for path in folder.parent.glob(f"*/{REGULAR}")})
    close = difflib.get_close_matches(folder.name, runs, n=1)
    logger.info(
        "-a: found no checkpoint in %s: begins a new run%s", folder, f" (did you mean {close[0]}?)" if close else ""
    )


def _checkpoints(folder: Path) -> list[Path]:
    return sorted(path for pattern in (REGULAR, BEST) for path in folder.glob(pattern))


def finished(states: Mapping[str, Any], checkpoint: Path, overrides: Overrides, program: str) -> str:
    """A message if every step of a run is done; empty if steps are left, or if ``-o`` might make it longer."""
    of_stock_task = "Downstream" not in states and kind_of_weights(states) is None
    section, step = states["Config"].get("runner", {}), states["Step"] + of_stock_task  # s3prl stores one step less
    total = section.get("total_steps")
    if overrides.keys or overrides.flags or not isinstance(total, int) or step < total:
        return ""
    epochs = section.get("n_epochs", -1)
    longer = f"n_epochs={2 * epochs}" if epochs > 0 else f"total_steps={2 * total}"
    command = shell.line(
        [*shell.launcher(program), "-e", os.path.relpath(checkpoint.parent), "-o", f"config.runner.{longer}"]
    )
    return f"{checkpoint}: step {step:,} of {total:,} is done, the run is finished; {command} makes it longer"


def check_resumable(checkpoint: Path, program: str) -> None:
    """Refuses a file that is no checkpoint of s3prl's Runner, or not of the launcher `program`."""
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
            f"-e {checkpoint}: found a run of {wrote}, expected one of {program}; "
            f"{shell.line([*shell.launcher(wrote), '-e', str(checkpoint)])} goes on with it{use}"
        )


def resume_overrides(begun: argparse.Namespace, checkpoint: Path, overrides: Overrides, device: str) -> str:
    """``-o`` for s3prl: the present device and folder in place of those in `begun`, then the user's own overrides.

    Raises:
        UserError: an override has no effect on a run that goes on.
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
    """Refuses a flag whose value differs from the one in `begun`, the stored arguments.

    s3prl would use the stored value without a message.

    Args:
        flags: flags by their destination in s3prl's arguments.
    """
    for name, flag in flags.items():
        value = getattr(args, name)
        if value is None or value is False or name in args.overrides.flags:  # `-o` is applied
            continue
        stored = getattr(begun, name, value)
        paths = isinstance(stored, str) and isinstance(value, str)
        if stored != value and not (paths and os.path.realpath(stored) == os.path.realpath(value)):
            raise UserError(
                f"{flag}: found {value}, but the run of {checkpoint} began with {stored}; leave the flag out, or begin "
                "another run with -n"
            )

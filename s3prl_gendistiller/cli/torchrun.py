"""What torchrun adds to run_pretrain.py: the run's name for all ranks, restarts, and what all ranks must have equal."""

from __future__ import annotations

import argparse
import dataclasses
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from s3prl_gendistiller._version import __version__
from s3prl_gendistiller.documents import leaves
from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.host import meeting
from s3prl_gendistiller.host.checkpoint import newest_checkpoint, read_checkpoint
from s3prl_gendistiller.host.meeting import Meeting
from s3prl_gendistiller.host.overrides import Overrides
from s3prl_gendistiller.host.resume import ARGUMENTS

logger = logging.getLogger(__name__)


def several() -> int:
    """The number of ranks that train together; 1 outside torchrun."""
    here = meeting.present()
    return 1 if here is None else here.world


def launcher(script: str) -> str:
    """How a script is started as this process was, with a space behind it; on several machines, without their flags."""
    here = meeting.present()
    ranks = "" if here is None or here.world == 1 else f" --nproc_per_node {here.local_world}"
    return f"{'torchrun' if ranks else 'python'}{ranks} {script} "


def settle(args: argparse.Namespace, filled: dict[str, str], free_name: Callable[[str], str]) -> None:
    """Gives all ranks one name of the run, and goes on with the run after a restart.

    Args:
        filled: flags that were filled in.
        free_name: gives the first free name of a run of a task.

    Raises:
        UserError: ``--multi_gpu`` was given, or a restart would not go on with the checkpoint that ``-e`` names.
    """
    here = meeting.present()
    if here is None:
        return
    if getattr(args, "multi_gpu", False):
        raise UserError(
            "--multi_gpu: found inside torchrun, which starts one rank for each GPU; leave --multi_gpu out, or start "
            "without torchrun"
        )
    if args.past_exp is None and args.expname is None and args.expdir is None and args.upstream is not None:
        args.expname = filled["-n"] = here.decide("run", lambda: free_name(args.upstream), lasting=True)
    past = None if args.past_exp is None else Path(args.past_exp)
    if past is None:
        args.auto_resume = args.auto_resume or here.attempt > 0
    elif past.is_file() and (here.attempt or here.restarts):
        newest = newest_checkpoint(past.resolve().parent)
        if not here.attempt and newest is not None and newest.resolve() != past.resolve():
            raise UserError(
                f"-e {past}: found with torchrun --max-restarts, and a restart goes on with {newest.name}, the newest "
                "checkpoint in the folder; move later checkpoints away, or leave --max-restarts out"
            )
        args.past_exp = str(past.resolve().parent)


def chosen(find: Callable[[], Path | None]) -> Path | None:
    """The checkpoint of `find`, as rank 0 has found it."""
    here = meeting.present()
    if here is None:
        return find()
    return Path(found) if (found := here.decide("checkpoint", lambda: str(find() or ""))) else None


def without_repeated(args: argparse.Namespace, checkpoint: Path) -> None:
    """Drops what ``-o`` has already changed in a checkpoint, after a restart with the same command."""
    here = meeting.present()
    if here is None or not here.attempt:
        return
    flags = {name: value for name, value in args.overrides.flags.items() if name in ARGUMENTS}
    config = read_checkpoint(checkpoint, mmap=True).get("Config", {})
    repeated = args.overrides.apply(config) == config
    args.overrides = Overrides(flags, {} if repeated else args.overrides.keys)


def without_data_parallel(begun: argparse.Namespace, overrides: Overrides) -> Overrides:
    """Overrides that turn ``--multi_gpu`` of a run off, which one process began and several ranks go on with."""
    if several() == 1 or not getattr(begun, "multi_gpu", False):
        return overrides
    logger.info("the run began with --multi_gpu, which torchrun replaces")
    return dataclasses.replace(overrides, flags={**overrides.flags, "multi_gpu": False})


def check_ranks(task: str, known: bool, batch_size: int | None = None) -> None:
    """Refuses several ranks for a task that is not `known` to share its batches, or for batches with too few items."""
    world = several()
    if world == 1:
        return
    if not known:
        raise UserError(
            f"-u: found {task} with {world} ranks; s3prl's own tasks train in one process, so leave torchrun out"
        )
    if batch_size is not None and batch_size < world:
        raise UserError(
            f"pretrain_expert.datarc.train_batch_size: found {batch_size} with {world} ranks, expected at least "
            f"{world}, because each rank takes a share of every batch; give fewer ranks or a larger batch"
        )


def agree(device: str, given: Mapping[str, Any]) -> None:
    """Compares the ranks' devices, versions and configuration; UserError that names what differs."""
    here = meeting.present()
    if here is None:
        return
    facts = {"s3prl-gendistiller": __version__, "torch": torch.__version__, "--device": device.partition(":")[0]}
    here.agree("configuration", {**facts, **{name.replace(".", " ", 1): value for name, value in leaves(given)}})


def wait(topic: str) -> None:
    """Waits for all ranks; UserError if one has ended."""
    here: Meeting | None = meeting.present()
    if here is not None:
        here.agree(topic)


def leads() -> bool:
    """Whether this process writes the files of the run."""
    here = meeting.present()
    return here is None or here.rank == 0

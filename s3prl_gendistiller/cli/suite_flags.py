"""The numbers on the command line of `gendistiller superb`, and flags that the others make meaningless."""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence

from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.host.feature_store import CACHE_FLAG, LIMIT_FLAG
from s3prl_gendistiller.superb.tasks import Task, choose_tasks

MAX_SEED = 2**32 - 1  # numpy's


def check(args: argparse.Namespace) -> None:
    """
    Raises:
        UserError: a number is out of its range, or a flag would do nothing.
    """
    if args.jobs is not None and args.jobs < 1:
        raise UserError(f"--jobs: found {args.jobs}, expected 1 or more")
    if args.tflops is not None and not (args.tflops > 0 and math.isfinite(args.tflops)):
        raise UserError(f"--tflops: found {args.tflops:g}, expected more than 0")
    if not 0 <= args.seed <= MAX_SEED:
        raise UserError(f"--seed: found {args.seed}, expected 0..{MAX_SEED}")
    planned = args.dry_run or args.preset == "official"
    if args.tflops is not None and not planned:
        raise UserError("--tflops: found without a plan, whose hours it is for; add --dry-run, or leave it out")
    if args.hardware is not None and args.preset != "official":
        raise UserError(f"--hardware: found {args.hardware} with --preset small, which fits everywhere; leave it out")
    if args.cache_limit is not None and args.cache_features is None:
        raise UserError(f"{LIMIT_FLAG}: found without {CACHE_FLAG}, which it bounds; leave it out")


def rates(given: Sequence[str], tasks: Sequence[Task]) -> dict[str, tuple[float, ...]]:
    """Learning rates by task, from ``TASK=RATE[,RATE...]``.

    Args:
        tasks: that are asked for.

    Raises:
        UserError: a task is unknown, not asked for, named twice or not trained, or a rate is none.
    """
    found: dict[str, tuple[float, ...]] = {}
    for text in given:
        name, _, values = text.partition("=")
        task = choose_tasks([name])[0] if name.lower() != "all" else None
        if task is None or not task.trained or task not in tasks:
            why = (
                "one task by its name"
                if task is None
                else "a task that is " + ("asked for with --tasks" if task.trained else "trained")
            )
            raise UserError(f"--lr {text}: found {name}, expected {why}; leave it out")
        if task.name in found:
            raise UserError(
                f"--lr {text}: found {task.name} a second time; give its rates together, as in ks=1e-2,1e-3"
            )
        try:
            listed = tuple(float(value) for value in values.split(","))
        except ValueError:
            listed = ()
        if not listed or not all(0 < rate < math.inf for rate in listed) or len(set(listed)) < len(listed):
            raise UserError(
                f"--lr {text}: expected TASK=RATE or TASK=RATE,RATE, such as ks=1e-3, each above 0 and once"
            )
        found[task.name] = listed
    return found

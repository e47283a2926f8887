"""Which flags of `gendistiller superb` mean something beside which others, and what its runs need."""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator, Sequence

from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.host import devices
from s3prl_gendistiller.host.downstream_config import check_downstream
from s3prl_gendistiller.host.feature_store import CACHE_FLAG, LIMIT_FLAG
from s3prl_gendistiller.outputs import check_writable
from s3prl_gendistiller.superb.suite.language_model import require_decoder
from s3prl_gendistiller.superb.suite.search import budgets
from s3prl_gendistiller.superb.suite.suite import Suite
from s3prl_gendistiller.superb.suite.table import CHART, RESULTS, TABLE
from s3prl_gendistiller.superb.tasks import Task, choose_tasks, require_packages


def check_pairs(args: argparse.Namespace, suite: Suite) -> None:
    """
    Raises:
        UserError: a flag was given that does nothing beside the others.
    """
    if args.hardware is not None and suite.preset != "official":
        raise UserError(f"--hardware: found {args.hardware} with --preset small, which fits everywhere; leave it out")
    if args.cache_limit is not None and args.cache_features is None:
        raise UserError(f"{LIMIT_FLAG}: found without {CACHE_FLAG}, which it bounds; leave it out")
    if args.tflops is not None and suite.preset != "official" and not args.dry_run:
        raise UserError(
            "--tflops: found with --preset small, whose hours are not estimated; add --dry-run or leave it out"
        )
    for device in args.devices:  # a plan may be for another machine, whose devices bear such names
        if not devices.NAME.fullmatch(device):
            raise UserError(f"--devices: found {device}, expected cpu, cuda or such as cuda:0")
    for task in suite.tasks if args.override else ():
        if task.trained:
            check_downstream(task.downstream, suite.content(task), f"{suite.config_file(task)} with -o {args.override}")
    names = {student.name for student in suite.students}
    for flag, name, usual in (("--score-from", args.score_from, "fbank"), ("--score-to", args.score_to, "teacher")):
        if name != usual and name not in names:
            raise UserError(f"{flag}: found {name}, expected a student of this suite: {', '.join(sorted(names))}")


def read_rates(given: Sequence[str], asked: Sequence[Task]) -> dict[str, tuple[float, ...]]:
    """Learning rates by task, of ``--lr``.

    Raises:
        UserError: a task is unknown, was not asked for, trains nothing or is named twice, or a rate is no number above
            0.
    """
    rates: dict[str, tuple[float, ...]] = {}
    for text in given:
        name, _, values = text.partition("=")
        task = choose_tasks([name])[0]
        try:
            found = tuple(float(value) for value in values.split(","))
        except ValueError as error:
            raise UserError(f"--lr {text}: expected TASK=RATE or TASK=RATE,RATE, such as ks=1e-3") from error
        if not all(math.isfinite(rate) and rate > 0 for rate in found):
            raise UserError(f"--lr {text}: expected rates above 0, such as ks=1e-3")
        if task.name in rates or len(set(found)) < len(found):
            raise UserError(f"--lr {text}: found twice; give each task once, as TASK=RATE,RATE, and each rate once")
        if task not in asked:
            raise UserError(f"--lr {text}: found without {task.name} among the tasks; leave it out, or add --tasks")
        if not task.trained:
            raise UserError(f"--lr {text}: found for a task that trains nothing; leave it out")
        rates[task.name] = found
    return rates


def check_search(suite: Suite, asked: bool | None) -> None:
    searched = [task for task in suite.tasks if len(suite.candidates(task)) > 1]
    if asked and not searched:
        raise UserError("--halving: found without a search; add --lr-search, or several rates of a task with --lr")
    for task in searched if suite.halving else ():
        budgets(suite.content(task), task.name)


def check_what_runs_need(suite: Suite) -> None:
    """Corpora, packages and places to write, which a plan can do without."""
    for name in (RESULTS, TABLE, CHART):
        check_writable(suite.out / name, "--out", folder=False)
    if suite.cache is not None:
        check_writable(suite.cache, CACHE_FLAG, folder=True)
    problems = list(_missing_corpora(suite))
    if problems:
        raise UserError("\n".join(problems))
    require_packages(suite.tasks)
    if suite.lm is not None:
        require_decoder()


def _missing_corpora(suite: Suite) -> Iterator[str]:
    for task in suite.tasks:
        try:
            suite.config(task)
        except UserError as error:
            yield str(error)

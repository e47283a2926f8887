"""The search for the learning rate of a task: every rate to the end, or successive halving from decades to thirds.

SUPERB tunes the learning rate of every pair of upstream and task between 1e-1 and 1e-7, in log scale (s3prl issues 120
and 498), and nothing else. Seven full trainings of ten tasks cost more than most people can spend. Successive halving
trains every rate of a list by decades for a twentieth of the steps and the better half for a fifth, then three times
and a third of the best rate for a fifth, and the best rate to the end: two full trainings in total instead of five. The
search drops a rate only after a comparison with rates that were trained for the same number of steps.

A short training favours large rates, because no configuration of SUPERB lowers the rate during a training. The second
round corrects this bias. Where a task matters, give its rates and ``--no-halving``: all these rates are then trained to
the end.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.superb.models import BenchmarkedModel
from s3prl_gendistiller.superb.suite.execution import Executor, dev_value, dev_value_after
from s3prl_gendistiller.superb.suite.run import trained_runs
from s3prl_gendistiller.superb.suite.suite import Suite
from s3prl_gendistiller.superb.tasks import Task

SHARES = (0.05, 0.2)
FACTOR = 3
LOWEST, HIGHEST = 1e-7, 1e-1
DIVERGED = "not finite"
"""Words of run_downstream.py's error when a loss or a gradient ends a training."""

Curves = dict[float, dict[int, float]]
"""Learning rate -> number of steps -> value on dev."""

logger = logging.getLogger(__name__)


class ChosenRate(NamedTuple):
    """The result of a search; the rate is None for the configuration's own, the curves are of successive halving."""

    lr: float | None
    dev: dict[str, float]
    curves: Curves


def choose_rate(suite: Suite, model: BenchmarkedModel, task: Task, executor: Executor) -> ChosenRate:
    """The learning rate that is best on dev, of ER on the first fold alone; with a single candidate nothing is run."""
    rates = suite.candidates(task)
    if len(rates) == 1:
        return ChosenRate(rates[0], {}, {})
    higher = task.dev_metric.higher_is_better

    def measure(rate: float | None, steps: int | None = None) -> float:
        run = trained_runs(suite, model, task, rate)[0]
        try:
            value = dev_value(run, executor) if steps is None else dev_value_after(run, executor, steps)
        except UserError as error:
            if DIVERGED not in str(error):
                raise
            logger.warning("%s %s: diverged, which drops its rate (%s)", model.name, run.name, error)
            value = math.nan
        after = f" after {steps} steps" if steps else ""
        executor.log(f"{model.name} {run.name}: {value:.2f} on dev{after}")
        return value

    if suite.halving:
        listed = [rate for rate in rates if rate is not None]
        best, curves = halve(listed, budgets(suite.content(task), task.name), measure, higher)
        return ChosenRate(best, {f"{rate:g}": list(reached.values())[-1] for rate, reached in curves.items()}, curves)
    dev = {rate: measure(rate) for rate in rates}
    best_of_all = min(dev, key=lambda rate: rank_key(dev[rate], higher))
    return ChosenRate(best_of_all, {f"{rate:g}": value for rate, value in dev.items()}, {})


def budgets(config: Mapping[str, Any], name: str) -> tuple[int, ...]:
    """The numbers of steps after which the trainings of a search are compared, ascending.

    Each is a multiple of `save_step` and of `eval_step`: at such a step s3prl has evaluated on dev, and has saved a
    checkpoint from which the training goes on.

    Raises:
        UserError: the configuration has a scheduler, which no shipped one has. The learning rate then depends on the
            total number of steps, and a short training is not the beginning of a long one.
    """
    if config.get("scheduler"):
        why = "depends on the number of steps, so that rates cannot be compared on parts of a training"
        remedy = "add --no-halving, which trains all of them to the end"
        raise UserError(f"{name}: found config.scheduler, which {why}; {remedy}")
    runner = config["runner"]
    total, grid = runner["total_steps"], math.lcm(runner["save_step"], runner["eval_step"])
    steps = {min(total, grid * math.ceil(share * total / grid)) for share in SHARES}
    return tuple(sorted(steps))


def halve(
    rates: Sequence[float], steps: Sequence[int], measure: Callable[[float, int], float], higher_is_better: bool
) -> tuple[float, Curves]:
    """The best rate, and the values of all rates on dev; among equal values the rate that comes first wins.

    Args:
        rates: the list to begin with.
        steps: the result of `budgets`.
        measure: (rate, steps) -> value on dev after a training of so many steps, which grow from call to call.
    """
    curves: Curves = {}

    def ranked(candidates: Sequence[float], budget: int) -> list[float]:
        for rate in candidates:
            if budget not in curves.setdefault(rate, {}):
                curves[rate][budget] = measure(rate, budget)
        return sorted(candidates, key=lambda rate: rank_key(curves[rate][budget], higher_is_better))

    kept = list(rates)
    for number, budget in enumerate(steps):
        kept = ranked(kept, budget)
        if number + 1 < len(steps):
            kept = kept[: math.ceil(len(kept) / 2)]
    finer = [rate for rate in around(kept[0]) if rate not in curves]
    return ranked([*kept, *finer], steps[-1])[0], curves


def around(rate: float) -> list[float]:
    """Three times a rate and a third of it, rounded to one digit, within SUPERB's range."""
    near = [float(f"{value:.0e}") for value in (rate * FACTOR, rate / FACTOR)]
    return [value for value in near if LOWEST <= value <= HIGHEST]


def rank_key(value: float, higher_is_better: bool) -> float:
    """A key to sort values on dev by, the best first; NaN comes last."""
    return math.inf if math.isnan(value) else -value if higher_is_better else value

"""The learning-rate search of the official preset: successive halving from decades to thirds.

SUPERB tunes the learning rate of every pair of upstream and task between 1e-1 and 1e-7, in log scale (s3prl issues 120
and 498), and nothing else. Seven full trainings of ten tasks are beyond most; here every rate of a list by decades is
trained for a twentieth of the steps, the better half for a fifth, then three times and a third of the best for a fifth,
and the winner to the end. That is two full trainings instead of five. Dropping a rate is the early stop on dev: no
trial that was behind at an equal number of steps is trained further.

A short training flatters large rates, since none of SUPERB's configurations lowers the rate with time; the second round
is there to notice. Where a task matters, give its rates and ``--no-halving``: all are then trained to the end.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from s3prl_gendistiller.errors import UserError

SHARES = (0.05, 0.2)
FACTOR = 3
LOWEST, HIGHEST = 1e-7, 1e-1

Trials = dict[float, dict[int, float]]
"""Learning rate -> steps -> what it reached on dev after so many."""


def budgets(config: Mapping[str, Any], name: str) -> tuple[int, ...]:
    """The steps after which trials of a configuration are compared, ascending.

    Each is a multiple of `save_step` and of `eval_step`: there s3prl has both evaluated and saved a checkpoint to go on
    from.

    Args:
        config: a run's configuration.
        name: of the task, for the message.

    Raises:
        UserError: the learning rate depends on the number of steps, so that a short training is no beginning of a long
            one. None of the shipped configurations has a scheduler.
    """
    if config.get("scheduler"):
        raise UserError(
            f"{name}: found config.scheduler, which depends on the number of steps, so that rates cannot be compared "
            "on parts of a training; add --no-halving, which trains all of them to the end"
        )
    runner = config["runner"]
    total, grid = runner["total_steps"], math.lcm(runner["save_step"], runner["eval_step"])
    steps = {min(total, grid * math.ceil(share * total / grid)) for share in SHARES}
    return tuple(sorted(steps))


def halve(
    rates: Sequence[float], steps: Sequence[int], measure: Callable[[float, int], float], higher_is_better: bool
) -> tuple[float, Trials]:
    """The best rate, and what each reached; ties go to the rate that is named first.

    Args:
        rates: the list to begin with.
        steps: of `budgets`.
        measure: (rate, steps) -> what is reached on dev when it is trained that far. It is asked for more and more
            steps of a rate, never twice for the same.
        higher_is_better: the direction.
    """
    trials: Trials = {}

    def look(rate: float, budget: int) -> None:
        trials.setdefault(rate, {})[budget] = measure(rate, budget)

    def ranked(candidates: Sequence[float], budget: int) -> list[float]:
        return sorted(candidates, key=lambda rate: cost_of(trials[rate][budget], higher_is_better))

    kept = list(rates)
    for number, budget in enumerate(steps):
        for rate in kept:
            look(rate, budget)
        kept = ranked(kept, budget)
        if number + 1 < len(steps):
            kept = kept[: math.ceil(len(kept) / 2)]
    finer = [rate for rate in around(kept[0]) if rate not in trials]
    for rate in finer:
        look(rate, steps[-1])
    return ranked([*kept, *finer], steps[-1])[0], trials


def around(rate: float) -> list[float]:
    """Three times a rate and a third of it, in one digit, as far as SUPERB's range goes."""
    near = [float(f"{value:.0e}") for value in (rate * FACTOR, rate / FACTOR)]
    return [value for value in near if LOWEST <= value <= HIGHEST]


def cost_of(value: float, higher_is_better: bool) -> float:
    """The less, the better; what never was a number is the worst."""
    if math.isnan(value):
        return math.inf
    return -value if higher_is_better else value

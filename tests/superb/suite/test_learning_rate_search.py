"""Successive halving on a dev curve that is known."""

from __future__ import annotations

import math

import pytest

from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.superb.suite.learning_rate_search import around, budgets, halve
from s3prl_gendistiller.superb.tasks import TASKS

RUNNER = {"total_steps": 200_000, "save_step": 1000, "eval_step": 5000}
DECADES = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5)


class Dev:
    """Accuracy falls off with the distance from a rate, in decades."""

    def __init__(self, best: float) -> None:
        self.best = best
        self.asked: list[tuple[float, int]] = []

    def __call__(self, rate: float, steps: int) -> float:
        self.asked.append((rate, steps))
        return -abs(math.log10(rate / self.best)) * 10


def test_trials_are_compared_where_s3prl_has_evaluated_and_saved() -> None:
    assert budgets({"runner": RUNNER}, "ks") == (10_000, 40_000)
    assert budgets({"runner": {**RUNNER, "total_steps": 30_000, "eval_step": 1000}}, "er") == (2000, 6000)
    assert budgets({"runner": {"total_steps": 4, "save_step": 2, "eval_step": 2}}, "ks") == (2,)
    assert budgets({"runner": {"total_steps": 4, "save_step": 3, "eval_step": 5}}, "ks") == (4,)


def test_a_rate_that_depends_on_the_number_of_steps_is_not_searched_in_parts() -> None:
    with pytest.raises(UserError, match=r"ks: found config\.scheduler.*--no-halving"):
        budgets({"runner": RUNNER, "scheduler": {"name": "linear_schedule_with_warmup"}}, "ks")


def test_the_better_half_goes_on_and_thirds_of_the_best_follow() -> None:
    dev = Dev(3e-4)
    best, trials = halve(DECADES, (5, 20), dev, True)
    assert dev.asked[:5] == [(rate, 5) for rate in DECADES]
    assert dev.asked[5:8] == [(1e-4, 20), (1e-3, 20), (1e-5, 20)]  # half of five, rounded up
    assert dev.asked[8:] == [(3e-4, 20), (3e-5, 20)]
    assert best == 3e-4 and list(trials[1e-4]) == [5, 20] and list(trials[1e-2]) == [5] and list(trials[3e-4]) == [20]


def test_errors_are_minimised_and_nothing_is_asked_twice() -> None:
    asked: list[tuple[float, int]] = []

    def error(rate: float, steps: int) -> float:
        asked.append((rate, steps))
        return abs(math.log10(rate / 1e-3))

    best, _ = halve((3e-3, 1e-3), (7,), error, False)
    assert best == 1e-3 and len(asked) == len(set(asked)) == 3  # 3e-3 is a third of 1e-2 and was tried before


def test_a_trial_that_diverged_loses_and_of_equals_the_first_wins() -> None:
    values = {1e-1: math.nan, 1e-2: 50.0, 1e-3: 50.0}
    best, _ = halve(tuple(values), (1,), lambda rate, steps: values.get(rate, 10.0), True)
    assert best == 1e-2


def test_the_search_stays_within_superbs_range() -> None:
    assert around(1e-1) == [3e-2] and around(1e-7) == [3e-7] and around(1e-3) == [3e-3, 3e-4]
    for task in TASKS.values():
        rates = task.learning_rates("official")
        assert all(1e-7 <= rate <= 1e-1 for rate in rates) and list(rates) == sorted(rates, reverse=True)

"""The interval covers the truth, a planted difference is found, and none between a run and itself."""

from __future__ import annotations

import numpy as np
import pytest

from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.superb.comparison.resampling import Difference, compare, holm
from s3prl_gendistiller.superb.tasks.items import Items
from s3prl_gendistiller.superb.tasks.statistics import EqualErrorRate, Ratio, Statistic, TermWeightedValue

ITEMS, DRAWS = 80, 300
MEAN = Ratio("value", factor=1.0)


def system(
    random: np.random.Generator, hardness: np.ndarray, seeds: int, mean: float, of_seeds: float
) -> list[list[Items]]:
    """Runs of one method: its mean, one deviation for each seed and one for each item, and noise of seed and item."""
    own = 0.5 * random.normal(size=ITEMS)
    values = (mean + of_seeds * random.normal() + hardness + own + random.normal(size=ITEMS) for _ in range(seeds))
    return [[Items([str(item) for item in range(ITEMS)], {"value": one})] for one in values]


@pytest.mark.parametrize(("seeds", "of_seeds"), [((1, 1), 0.0), ((3, 3), 0.3), ((2, 4), 0.1)])
def test_an_interval_covers_the_truth_nineteen_times_in_twenty(seeds: tuple[int, int], of_seeds: float) -> None:
    random = np.random.default_rng(5)
    covered = found = 0
    runs, true = 150, 0.2
    for number in range(runs):
        hardness = random.normal(size=ITEMS)
        first = system(random, hardness, seeds[0], true, of_seeds)
        second = system(random, hardness, seeds[1], 0.0, of_seeds)
        result = compare(MEAN, first, second, DRAWS, seed=number)
        covered += result.low <= true <= result.high
        null = compare(MEAN, system(random, hardness, seeds[0], 0.0, of_seeds), second, 100, seed=number)
        found += null.p < 0.05
    assert 0.91 <= covered / runs <= 0.99  # 0.95 with a standard error of 0.018
    assert found / runs <= 0.09


def test_items_alone_would_miss_the_spread_of_the_seeds() -> None:
    """The same runs with wide seeds: an interval over items of one run would be several times narrower."""
    random = np.random.default_rng(0)
    hardness = random.normal(size=ITEMS)
    first, second = (system(random, hardness, 3, 0.0, 1.0) for _ in range(2))
    of_all, of_one = compare(MEAN, first, second, 1000), compare(MEAN, first[:1], second[:1], 1000)
    assert of_all.high - of_all.low > 2 * (of_one.high - of_one.low)


def both_ways(statistic: Statistic, better: list[list[Items]], worse: list[list[Items]]) -> tuple[Difference, ...]:
    return compare(statistic, better, worse, 1000), compare(statistic, worse, better, 1000)


def trials(random: np.random.Generator, apart: float, scale: float = 1.0) -> list[list[Items]]:
    """Trials of a verifier: the scores of one speaker's pairs lie higher."""
    same = np.arange(600) % 2
    score = scale * (random.normal(size=600) + apart * same)
    return [[Items([str(trial) for trial in range(600)], {"score": score, "same": same.astype(float)})]]


def searches(random: np.random.Generator, apart: float) -> list[list[Items]]:
    """24 queries in 40 documents, two of which hold each query."""
    true = np.tile(np.arange(40) < 2, 24).astype(float)
    columns = {"score": random.normal(size=960) + apart * true, "true": true}
    return [[Items([str(pair) for pair in range(960)], columns, np.repeat(np.arange(24), 40))]]


def test_a_planted_difference_is_found_on_every_kind_of_metric() -> None:
    random = np.random.default_rng(1)
    hardness = random.normal(size=ITEMS)
    pairs: list[tuple[Statistic, list[list[Items]], list[list[Items]]]] = [
        (MEAN, system(random, hardness, 3, 1.0, 0.05), system(random, hardness, 3, 0.0, 0.05)),
        (EqualErrorRate(), trials(random, 1.0), trials(random, 3.0, scale=0.1)),
        (TermWeightedValue(), searches(random, 6.0), searches(random, 1.5)),
    ]
    for statistic, higher, lower in pairs:
        up, down = both_ways(statistic, higher, lower)
        assert up.p < 0.03 and down.p < 0.03 and up.low > 0 > down.high
        assert up.low < up.difference < up.high and up.difference == -down.difference


def test_no_difference_is_found_between_a_run_and_itself() -> None:
    random = np.random.default_rng(2)
    hardness = random.normal(size=ITEMS)
    for statistic, runs in (
        (MEAN, system(random, hardness, 1, 0.0, 1.0)),
        (EqualErrorRate(), trials(random, 1.0)),
        (TermWeightedValue(), searches(random, 1.5)),
    ):
        found = compare(statistic, runs, runs, 500)
        assert (found.difference, found.low, found.high, found.p) == (0, 0, 0, 1)
    seeds = system(random, hardness, 3, 0.0, 1.0)
    found = compare(MEAN, seeds, seeds, 500)  # other seeds of the same method might differ
    assert found.p == 1 and found.low < 0 < found.high


def test_items_too_few_to_draw_from_are_refused() -> None:
    """Values of slots in one of three utterances: three draws in ten hold no letter."""
    runs = [[Items(["a", "b", "c"], {"errors": np.array([1.0, 0, 0]), "letters": np.array([4.0, 0, 0])})]]
    with pytest.raises(UserError, match="some draws of its 3 items hold nothing to count"):
        compare(Ratio("errors", "letters"), runs, runs, 100)


def test_the_same_call_gives_the_same_result() -> None:
    runs = trials(np.random.default_rng(3), 1.0), trials(np.random.default_rng(4), 1.2)
    assert compare(EqualErrorRate(), *runs, 200) == compare(EqualErrorRate(), *runs, 200)


def test_p_values_are_corrected_as_holm_does() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])  # R: p.adjust(p, "holm")
    assert holm([0.5, 0.9]) == [1.0, 1.0] and holm([]) == []

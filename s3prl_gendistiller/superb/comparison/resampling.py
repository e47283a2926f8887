"""The difference of two systems on one metric: a paired bootstrap over items and seeds, and a permutation test.

The items of the test are drawn with replacement, the same ones for both systems and all of their seeds (Koehn, EMNLP
2004; Bisani and Ney, ICASSP 2004). The seeds of each system are drawn with replacement too. Two corrections make the
interval hold for few seeds. First, n values drawn with replacement vary by (n - 1) / n of their variance, and a part of
the spread of the seeds comes from the items, which the draw of items has already counted. The deviations of the drawn
seeds are therefore scaled to the unbiased variance of the seeds alone. Second, a variance of three values is itself
uncertain. All deviations get the factor of Student's t, sqrt(df / chi2(df)), with the degrees of freedom of Welch and
Satterthwaite. With one seed on each side the interval holds for these two runs, and is a plain bootstrap over items.

The permutation test exchanges the two systems on each item with probability 1/2, for all seeds at once, and adds the
same deviations of seeds. Its p value is the share of differences at least as large as the observed one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.superb.tasks.items import Items, joined
from s3prl_gendistiller.superb.tasks.statistics import Evaluate, Statistic, ranked

DRAWS = 5000
CONFIDENCE = 0.95
_AT_ONCE = 4_000_000  # weights in memory: 32 MB

Seeds = Sequence[Sequence[Items]]
"""The runs of a system: one list for each of its seeds, with one run or several whose mean is the value of the seed."""


@dataclass(frozen=True)
class Difference:
    """The first system minus the second, in the unit of the metric.

    Attributes:
        values: the metric of each system, the mean over its seeds.
        low, high: the 95 % interval of the difference.
        p: p value of the permutation test, two-sided.
        items: number of units that are drawn (for QbE queries, else items).
        seeds: number of seeds of each system.
    """

    values: tuple[float, float]
    low: float
    high: float
    p: float
    items: int
    seeds: tuple[int, int]

    @property
    def difference(self) -> float:
        return self.values[0] - self.values[1]


def compare(statistic: Statistic, first: Seeds, second: Seeds, draws: int = DRAWS, seed: int = 0) -> Difference:
    """The difference of two systems that were tested on the same items, in the same order.

    Args:
        draws: number of draws of the bootstrap, and of the permutation test.
        seed: seed of the draws; the same call gives the same result.

    Raises:
        UserError: some draws of so few items have no value, such as slots without a letter.
    """
    random = np.random.default_rng(seed)
    systems = [[[ranked(run) for run in runs] for runs in system] for system in (first, second)]
    shape = systems[0][0][0]
    count = shape.unit_count
    once = np.ones((1, len(shape.names)))
    observed = [_by_seed(statistic, system, [once]) for system in systems]  # (1, seeds)
    difference = observed[0].mean() - observed[1].mean()

    weights = [_drawn(shape, size, random)[:, shape.units] for size in _sizes(draws, len(shape.names))]
    drawn = [_by_seed(statistic, system, weights) for system in systems]  # (draws, seeds)
    del weights
    if not all(np.isfinite(one).all() for one in (*observed, *drawn)):
        found = f"the test is too small: some draws of its {count:,} items hold nothing to count"
        raise UserError(f"{found}; compare the students on a larger test")
    correction = np.sqrt(count / max(count - 1, 1))
    of_items = correction * (drawn[0].mean(axis=1) - drawn[1].mean(axis=1) - difference)
    spreads = [_seed_variance(one[0], all_ - one) for one, all_ in zip(observed, drawn, strict=True)]
    freedom = _degrees_of_freedom(of_items.var(), count - 1, spreads, [one.size for one in observed])

    def of_seeds() -> np.ndarray:
        parts = [
            _drawn_seeds(one[0], spread, draws, random) for one, (spread, _) in zip(observed, spreads, strict=True)
        ]
        return parts[0] - parts[1]

    def student() -> np.ndarray:
        return np.ones(draws) if np.isinf(freedom) else np.sqrt(freedom / random.chisquare(freedom, draws))

    deviations = (of_items + of_seeds()) * student()
    low, high = difference + np.quantile(deviations, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    null = (_permuted(statistic, systems, draws, random) + of_seeds()) * student()
    as_large = np.abs(null) >= abs(difference) - 1e-9
    p = (1 + int(as_large.sum())) / (1 + draws)
    values = float(observed[0].mean()), float(observed[1].mean())
    return Difference(values, float(low), float(high), p, count, (len(first), len(second)))


def holm(values: Sequence[float]) -> list[float]:
    """p values corrected for their number by Holm's method (1979), in the order given."""
    order = np.argsort(values)
    scaled = np.asarray(values)[order] * np.arange(len(values), 0, -1)
    corrected = np.empty(len(values))
    corrected[order] = np.minimum(np.maximum.accumulate(scaled), 1)
    return [float(value) for value in corrected]


def _sizes(draws: int, items: int) -> Iterator[int]:
    """Numbers of draws that are computed at once, whose weights fit in memory."""
    at_once = max(1, _AT_ONCE // items)
    while draws > 0:
        yield min(at_once, draws)
        draws -= at_once


def _drawn(items: Items, draws: int, random: np.random.Generator) -> np.ndarray:
    """(draws, units): how often each unit is drawn, as many of each stratum as it has."""
    strata = np.zeros(items.unit_count, dtype=int)
    strata[items.units] = items.strata
    weights = np.zeros((draws, items.unit_count))
    for stratum in np.unique(strata):
        (members,) = np.nonzero(strata == stratum)
        size = len(members)
        chosen = random.integers(size, size=(draws, size)) + size * np.arange(draws)[:, None]
        weights[:, members] = np.bincount(chosen.ravel(), minlength=draws * size).reshape(draws, size)
    return weights


def _by_seed(statistic: Statistic, system: Seeds, weights: Sequence[np.ndarray]) -> np.ndarray:
    """(draws, seeds): the metric of each seed, the mean over its runs."""

    def values(evaluate: Evaluate) -> np.ndarray:
        return np.concatenate([evaluate(part) for part in weights])

    return np.stack([np.mean([values(statistic.over(run)) for run in runs], axis=0) for runs in system], axis=1)


def _seed_variance(observed: np.ndarray, deviations: np.ndarray) -> tuple[float, float]:
    """Variance of the mean over seeds: without the part that comes from the items, and with it.

    Args:
        observed: (seeds,) the metric of each seed.
        deviations: (draws, seeds) from it, of draws of items; what differs between seeds in them is noise of the items.
    """
    seeds = len(observed)
    if seeds < 2:
        return 0.0, 0.0
    whole = float(observed.var(ddof=1))
    noise = float(deviations.var(axis=1, ddof=1).mean())
    return max(0.0, whole - noise) / seeds, whole / seeds


def _degrees_of_freedom(
    of_items: float, freedom: int, spreads: Sequence[tuple[float, float]], seeds: Sequence[int]
) -> float:
    """Welch's and Satterthwaite's degrees of freedom of the sum of the variances."""
    total = of_items + sum(alone for alone, _ in spreads)
    doubt = of_items**2 / max(freedom, 1)
    doubt += sum(whole**2 / (count - 1) for (_, whole), count in zip(spreads, seeds, strict=True) if count > 1)
    return float(max(1.0, total**2 / doubt)) if doubt > 0 and total > 0 else float("inf")


def _drawn_seeds(observed: np.ndarray, variance: float, draws: int, random: np.random.Generator) -> np.ndarray:
    """(draws,) deviations of the mean over drawn seeds, with this variance."""
    seeds, spread = len(observed), float(observed.var())
    if seeds < 2 or spread == 0 or variance == 0:
        return np.zeros(draws)
    means = observed[random.integers(seeds, size=(draws, seeds))].mean(axis=1)
    scaled: np.ndarray = (means - observed.mean()) * np.sqrt(variance / (spread / seeds))
    return scaled


def _permuted(statistic: Statistic, systems: Sequence[Seeds], draws: int, random: np.random.Generator) -> np.ndarray:
    """(draws,) differences after each unit's results have changed sides with probability 1/2."""
    shares = [[(run, 1 / (len(system) * len(runs))) for runs in system for run in runs] for system in systems]
    if len(shares[0]) == len(shares[1]) and len({share for side in shares for _, share in side}) == 1:
        pairs = [(one, other, share) for (one, share), (other, _) in zip(*shares, strict=True)]
    else:
        pairs = [(one, other, share * weight) for (one, share), (other, weight) in product(*shares)]
    both = [(statistic.over(joined([one, other])), share) for one, other, share in pairs]
    shape = pairs[0][0]
    found = []
    for size in _sizes(draws, 2 * len(shape.names)):
        kept = random.integers(2, size=(size, shape.unit_count)).astype(float)[:, shape.units]
        ours, theirs = np.hstack([kept, 1 - kept]), np.hstack([1 - kept, kept])
        found.append(sum(share * (evaluate(ours) - evaluate(theirs)) for evaluate, share in both))
    return np.concatenate(found)

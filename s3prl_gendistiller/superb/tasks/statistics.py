"""Metrics as functions of items and their weights: the weight of an item says how often it is drawn.

A metric whose weights are all 1 is the number that s3prl prints (for ASV, PR, ASR, SF and the classifiers), and that
`mtwv` and `der` compute.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from s3prl_gendistiller.superb.tasks.items import Items
from s3prl_gendistiller.superb.tasks.mtwv import BETA

Evaluate = Callable[[np.ndarray], np.ndarray]
"""Weights (R, N) of R draws of N items -> (R,) values of the metric, in the unit of its label."""


class Statistic(Protocol):
    """A metric as a function of items."""

    def over(self, items: Items) -> Evaluate:
        """The metric of any draw of these items; what does not depend on the draw is computed once."""


def value(statistic: Statistic, items: Items) -> float:
    """The metric over all items, each of them once."""
    return float(statistic.over(items)(np.ones((1, len(items.names))))[0])


def ranked(items: Items) -> Items:
    """The items with the rank of each ``score`` (0 to 1) in place of the score, which leaves EER and MTWV as they are.

    The scores of two systems can then be exchanged; equal scores keep one rank.
    """
    if "score" not in items.columns:
        return items
    _, place, counts = np.unique(items.columns["score"], return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - counts / 2)[place] / len(place)
    return Items(items.names, {**items.columns, "score": ranks}, items.units, items.strata)


@dataclass(frozen=True)
class Ratio:
    """The sum of one column over the sum of another, the mean over strata; None divides by the number of items."""

    column: str
    length: str | None = None
    factor: float = 100.0

    def over(self, items: Items) -> Evaluate:
        strata = [items.strata == number for number in np.unique(items.strata)]
        top = np.stack([items.columns[self.column] * chosen for chosen in strata], axis=1)  # (N, strata)
        whole = np.ones(len(items.names)) if self.length is None else items.columns[self.length]
        below = np.stack([whole * chosen for chosen in strata], axis=1)

        def evaluate(weights: np.ndarray) -> np.ndarray:
            with np.errstate(invalid="ignore", divide="ignore"):  # a draw without any length has no ratio
                rates: np.ndarray = self.factor * (weights @ top) / (weights @ below)
            mean: np.ndarray = rates.mean(axis=1)
            return mean

        return evaluate


@dataclass(frozen=True)
class LowestRatio:
    """The lowest of several ratios with one length: SUPERB reports SD's best threshold and filter on the test set.

    Attributes:
        prefix: beginning of the names of the columns, one for each setting.
    """

    prefix: str
    length: str
    factor: float = 100.0

    def over(self, items: Items) -> Evaluate:
        top = np.stack([values for name, values in items.columns.items() if name.startswith(self.prefix)], axis=1)
        below = items.columns[self.length]

        def evaluate(weights: np.ndarray) -> np.ndarray:
            with np.errstate(invalid="ignore", divide="ignore"):
                rates: np.ndarray = self.factor * (weights @ top).min(axis=1) / (weights @ below)
            return rates

        return evaluate


@dataclass(frozen=True)
class EqualErrorRate:
    """EER: where the share of accepted impostors is that of rejected targets, on straight lines between the scores.

    Columns: ``score``, and ``same`` (1 for two recordings of one speaker).
    """

    factor: float = 100.0

    def over(self, items: Items) -> Evaluate:
        order, ends = _descending(items.columns["score"])
        same = items.columns["same"][order]

        def evaluate(weights: np.ndarray) -> np.ndarray:
            drawn = weights[:, order]
            accepted, alarms = (_shares(drawn * kind)[:, ends] for kind in (same, 1 - same))
            first = np.zeros((len(drawn), 1))
            accepted, alarms = np.hstack([first, accepted]), np.hstack([first, alarms])
            above = accepted + alarms - 1  # rises from -1 to 1, and is 0 at the EER
            after = np.maximum((above >= 0).argmax(axis=1), 1)
            rows = np.arange(len(drawn))
            low, high = above[rows, after - 1], above[rows, after]
            part = -low / np.where(high > low, high - low, 1)
            start = alarms[rows, after - 1]
            return self.factor * (start + part * (alarms[rows, after] - start))

        return evaluate


@dataclass(frozen=True)
class TermWeightedValue:
    """MTWV as in `mtwv`, whose units are the queries. Columns: ``score``, and ``true`` (1 where the query occurs)."""

    factor: float = 100.0

    def over(self, items: Items) -> Evaluate:
        order, ends = _descending(items.columns["score"])
        true, queries = items.columns["true"], items.unit_count
        hits = np.bincount(items.units, true, queries)[items.units]
        others = np.bincount(items.units, 1 - true, queries)[items.units]
        step = np.where(true == 1, 1 / np.maximum(hits, 1), -BETA / np.maximum(others, 1))[order]
        share = 1 / np.bincount(items.units, minlength=queries)[items.units]  # the shares of a query make 1

        def evaluate(weights: np.ndarray) -> np.ndarray:
            gained = np.cumsum(weights[:, order] * step, axis=1)[:, ends].max(axis=1)
            values: np.ndarray = self.factor * np.maximum(gained, 0) / (weights @ share)
            return values

        return evaluate


def _descending(scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The order from the highest score, and in it the last of each run of equal scores, which are detected together."""
    order = np.argsort(-scores, kind="stable")
    ordered = scores[order]
    return order, np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True))


def _shares(weights: np.ndarray) -> np.ndarray:
    sums = np.cumsum(weights, axis=1)
    return sums / np.maximum(sums[:, -1:], 1e-300)

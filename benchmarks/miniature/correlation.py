"""Does the distance to the teacher predict the tasks? Kendall's tau-b of the two, over students and over forms."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from miniature.scores import DISTANCE, Form, scores
from s3prl_gendistiller.superb.comparison.compared import SIGNIFICANT
from s3prl_gendistiller.superb.comparison.resampling import holm
from s3prl_gendistiller.superb.suite.table import label, markdown
from s3prl_gendistiller.superb.tasks import Metric, Task


@dataclass(frozen=True)
class Order:
    """How far two rankings of `count` things agree.

    Attributes:
        tau: Kendall's tau-b; None where one of the two is constant.
        p: two-sided p value of it; exact without ties.
    """

    count: int
    tau: float | None
    p: float | None


def order(x: Sequence[float], y: Sequence[float]) -> Order:
    """Source: M. G. Kendall, The treatment of ties in ranking problems, Biometrika 33, 1945."""
    from scipy.stats import kendalltau

    if len(set(x)) < 2 or len(set(y)) < 2:
        return Order(len(x), None, None)
    found = kendalltau(x, y)
    return Order(len(x), float(found.statistic), float(found.pvalue))


def correlation_table(
    results: Mapping[str, Any], forms: Mapping[str, Form], shown: Sequence[tuple[Task, Metric]]
) -> str:
    """A line that says what the distance predicts, and the table: for each metric tau-b over students and forms."""
    names = [label(task, metric) for task, metric in shown]
    over_students, over_forms = [], []
    for task, metric in shown:
        pairs = [_pairs(results, form, task, metric) for form in forms.values()]
        pairs = [found for found in pairs if found]
        over_students.append(order(*_columns([pair for found in pairs for pair in found])))
        over_forms.append(order(*_columns([_mean(found) for found in pairs])))
    corrected = _corrected(over_forms)
    rows = [
        ["", *names],
        ["over students", *(_tau(one) for one in over_students)],
        ["students", *(str(one.count) for one in over_students)],
        ["over forms", *(_tau(one) for one in over_forms)],
        ["forms", *(str(one.count) for one in over_forms)],
        ["p (Holm), over forms", *("" if p is None else f"{p:.3f}" for p in corrected)],
    ]
    lines = [
        f"Does the distance predict the tasks? {_answer(names, over_students, over_forms, corrected)}",
        f"Kendall's tau-b of {DISTANCE} with each metric; +1: the nearer to the teacher, the better. A student is one "
        "seed of a form, and a form the mean over its seeds. Seeds of one form resemble each other, so that p is that "
        "of the order of the forms, corrected for the number of metrics by Holm's method.",
    ]
    return "".join(f"{line}\n\n" for line in lines) + markdown(rows)


def _pairs(results: Mapping[str, Any], form: Form, task: Task, metric: Metric) -> list[tuple[float, float]]:
    """Nearness and goodness of each student of a form, both higher for better."""
    if not form.distances:
        return []
    found = []
    for name, distance in zip(form.students, form.distances, strict=True):
        sign = 1 if metric.higher_is_better else -1
        found += [(-distance, sign * value) for value in scores(results, [name], task, metric)]
    return found


def _columns(pairs: Sequence[tuple[float, float]]) -> tuple[list[float], list[float]]:
    return [one for one, _ in pairs], [other for _, other in pairs]


def _mean(pairs: Sequence[tuple[float, float]]) -> tuple[float, float]:
    near, good = _columns(pairs)
    return statistics.fmean(near), statistics.fmean(good)


def _corrected(found: Sequence[Order]) -> list[float | None]:
    """The p values of so many forms that an order could be shown, corrected for their number; None for others."""
    able = [one.p is not None and 2 / math.factorial(one.count) < SIGNIFICANT for one in found]
    values = iter(holm([one.p for one, enough in zip(found, able, strict=True) if enough and one.p is not None]))
    return [next(values) if enough else None for enough in able]


def _tau(one: Order) -> str:
    return "" if one.tau is None else f"{one.tau:+.2f}"


def _answer(
    names: Sequence[str], students: Sequence[Order], forms: Sequence[Order], corrected: Sequence[float | None]
) -> str:
    known = [(name, one.tau) for name, one in zip(names, students, strict=True) if one.tau is not None]
    if not known:
        return "Not known: fewer than two students have a distance and scores that differ."
    better = [f"{name} {tau:+.2f}" for name, tau in known if tau > 0]
    worse = [f"{name} {tau:+.2f}" for name, tau in known if tau < 0]
    counts = f"{max(one.count for one in students)} students of {max(one.count for one in forms)} forms"
    text = f"Over {counts}, the nearer to the teacher, the better on {_listed(better)}; the worse on {_listed(worse)}."
    if all(p is None for p in corrected):
        return f"{text} So few forms cannot show an order."
    shown = [
        (name, one.tau)
        for name, one, p in zip(names, forms, corrected, strict=True)
        if one.tau is not None and p is not None and p < SIGNIFICANT
    ]
    if not shown:
        return f"{text} The forms show this on no metric (p (Holm) below {SIGNIFICANT:g} on none)."
    said = [f"{name} {tau:+.2f}" for name, tau in shown]
    return f"{text} The forms show it (p (Holm) below {SIGNIFICANT:g}) on {', '.join(said)}."


def _listed(parts: Sequence[str]) -> str:
    return f"{len(parts)} metrics ({', '.join(parts)})" if len(parts) > 1 else parts[0] if parts else "none"

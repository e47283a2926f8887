"""The tables of an ablation by tasks: scores beside the distance to the teacher, and whether seeds are apart.

The scores are those of results.json as `superb.suite.results.read_content` returns it, here called `results`.
"""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from s3prl_gendistiller.superb.suite.table import COST_HEADER, label, markdown, mean_and_spread
from s3prl_gendistiller.superb.tasks import TASKS, Metric, Task

BETTER, WORSE, NOT_APART = "better", "worse", "not apart"
DISTANCE = "layerwise loss"
REFERENCES = ("teacher", "random", "fbank")
SEVERAL_METRICS = ("asr",)
"""Tasks of which every metric has a column: in miniature, letter error separates students that word error does not."""


class Form(NamedTuple):
    """One form of the student.

    Attributes:
        students: names of its seeds in the results of the suite.
        distances: layerwise loss of each seed; empty for a form without the targets of the others.
    """

    students: Sequence[str]
    distances: Sequence[float]


def tables(results: Mapping[str, Any], forms: Mapping[str, Form], control: str) -> str:
    """The three tables of an ablation, as Markdown: scores, rank correlation with the distance, and seeds apart.

    Args:
        control: the form with which each other form is compared, one of `forms`.
    """
    shown = columns(results, forms)
    correlation = f"Kendall's tau-b of {DISTANCE} with each metric over the forms (means over seeds)"
    parts = [
        score_table(results, forms, shown),
        f"{correlation}; +1: the nearer to the teacher, the better.",
        correlation_table(results, forms, shown),
        f"Seeds of each form against those of {control}: {BETTER} or {WORSE} where every seed of one form is better "
        "than every seed of the other.",
        control_table(results, forms, control, shown),
    ]
    return "\n".join(f"{part.rstrip()}\n" for part in parts)


def columns(results: Mapping[str, Any], forms: Mapping[str, Form]) -> list[tuple[Task, Metric]]:
    """The first metric of each task on which some form was evaluated, and every metric of `SEVERAL_METRICS`."""
    return [
        (task, metric)
        for task in TASKS.values()
        for metric in (task.metrics if task.name in SEVERAL_METRICS else task.metrics[:1])
        if any(scores(results, form.students, task, metric) for form in forms.values())
    ]


def scores(results: Mapping[str, Any], students: Sequence[str], task: Task, metric: Metric) -> list[float]:
    """The values of a metric, of those students that have one."""
    tasks = [results["students"][name]["tasks"] for name in students if name in results["students"]]
    outcomes = [found[task.name]["values"] for found in tasks if task.name in found]
    return [values[metric.key] for values in outcomes if metric.key in values]


def against(ours: Sequence[float], theirs: Sequence[float], higher_is_better: bool) -> str:
    """`BETTER` or `WORSE` if every value of ours is so than every value of theirs, else `NOT_APART`.

    Raises:
        ValueError: one of the two has no values.
    """
    if not higher_is_better:
        ours, theirs = theirs, ours
    if min(ours) > max(theirs):
        return BETTER
    return WORSE if max(ours) < min(theirs) else NOT_APART


def kendall_tau_b(x: Sequence[float], y: Sequence[float]) -> float | None:
    """Rank correlation of two sequences of equal length, corrected for ties; None where one of the two is constant.

    Source: M. G. Kendall, The treatment of ties in ranking problems, Biometrika 33, 1945.
    """
    pairs = itertools.combinations(zip(x, y, strict=True), 2)
    signs = [(_sign(a[0] - b[0]), _sign(a[1] - b[1])) for a, b in pairs]
    untied_x, untied_y = (sum(pair[place] != 0 for pair in signs) for place in (0, 1))
    if not untied_x or not untied_y:
        return None
    return sum(a * b for a, b in signs) / math.sqrt(untied_x * untied_y)


def score_table(results: Mapping[str, Any], forms: Mapping[str, Form], shown: Sequence[tuple[Task, Metric]]) -> str:
    """A row for each form, mean ± standard deviation over its seeds, and for each reference of the results."""
    rows = [["form", *COST_HEADER[:2], DISTANCE, *(label(task, metric) for task, metric in shown)]]
    references = {name: Form([name], []) for name in REFERENCES if name in results["students"]}
    for name, form in (*forms.items(), *references.items()):
        values = [mean_and_spread(scores(results, form.students, task, metric)) for task, metric in shown]
        rows.append([name, *_cost(results, form.students), mean_and_spread(form.distances, 4), *values])
    return markdown(rows)


def correlation_table(
    results: Mapping[str, Any], forms: Mapping[str, Form], shown: Sequence[tuple[Task, Metric]]
) -> str:
    """For each metric the rank correlation with the distance, and over how many forms; empty where there is none."""
    found, counts = [], []
    for task, metric in shown:
        of_forms = [
            (statistics.fmean(form.distances), statistics.fmean(values))
            for form in forms.values()
            if form.distances and (values := scores(results, form.students, task, metric))
        ]
        nearness = [-distance for distance, _ in of_forms]
        goodness = [value if metric.higher_is_better else -value for _, value in of_forms]
        tau = kendall_tau_b(nearness, goodness)
        found.append("" if tau is None else f"{tau:+.2f}")
        counts.append(str(len(of_forms)))
    header = ["", *(label(task, metric) for task, metric in shown)]
    return markdown([header, ["tau-b", *found], ["forms", *counts]])


def control_table(
    results: Mapping[str, Any], forms: Mapping[str, Form], control: str, shown: Sequence[tuple[Task, Metric]]
) -> str:
    """For each form but the control and each measure whether the seeds are apart, with the numbers of seeds."""
    rows = [["form", "seeds", DISTANCE, *(label(task, metric) for task, metric in shown)]]
    base = forms[control]
    for name, form in forms.items():
        if name == control:
            continue
        cells = [_against(form.distances, base.distances, False)]
        for task, metric in shown:
            ours, theirs = (scores(results, one.students, task, metric) for one in (form, base))
            cells.append(_against(ours, theirs, metric.higher_is_better))
        rows.append([name, f"{len(form.students)} against {len(base.students)}", *cells])
    return markdown(rows)


def _against(ours: Sequence[float], theirs: Sequence[float], higher_is_better: bool) -> str:
    return against(ours, theirs, higher_is_better) if ours and theirs else ""


def _cost(results: Mapping[str, Any], students: Sequence[str]) -> tuple[str, str]:
    """Parameters and multiply-adds of the first of the students that has a cost."""
    costs = (results["students"].get(name, {}).get("cost") for name in students)
    cost = next(filter(None, costs), None)
    return ("", "") if cost is None else (f"{cost['parameters']:,}", f"{cost['gmacs_per_s']:.3f}")


def _sign(number: float) -> int:
    return (number > 0) - (number < 0)

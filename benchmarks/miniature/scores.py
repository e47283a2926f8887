"""The scores of the forms of an ablation, over their seeds, beside their distance to the teacher.

The scores are those of results.json as `superb.suite.results.read_content` returns it, here called `results`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from s3prl_gendistiller.superb.suite.table import COST_HEADER, label, markdown, mean_and_spread
from s3prl_gendistiller.superb.tasks import TASKS, Metric, Task

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


def score_table(results: Mapping[str, Any], forms: Mapping[str, Form], shown: Sequence[tuple[Task, Metric]]) -> str:
    """A row for each form, mean ± standard deviation over its seeds, and for each reference of the results."""
    rows = [["form", *COST_HEADER[:2], DISTANCE, *(label(task, metric) for task, metric in shown)]]
    references = {name: Form([name], []) for name in REFERENCES if name in results["students"]}
    for name, form in (*forms.items(), *references.items()):
        values = [mean_and_spread(scores(results, form.students, task, metric)) for task, metric in shown]
        rows.append([name, *_cost(results, form.students), mean_and_spread(form.distances, 4), *values])
    return markdown(rows)


def _cost(results: Mapping[str, Any], students: Sequence[str]) -> tuple[str, str]:
    """Parameters and multiply-adds of the first of the students that has a cost."""
    costs = (results["students"].get(name, {}).get("cost") for name in students)
    cost = next(filter(None, costs), None)
    return ("", "") if cost is None else (f"{cost['parameters']:,}", f"{cost['gmacs_per_s']:.3f}")

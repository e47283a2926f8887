"""The table of a suite, and Markdown tables in general; `table_files` has CSV and LaTeX."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from s3prl_gendistiller.superb.cost.multiply_adds import Cost
from s3prl_gendistiller.superb.models import BenchmarkedModel, one_per_distillation
from s3prl_gendistiller.superb.suite.replicas import Replicas, replicas
from s3prl_gendistiller.superb.suite.results import Results
from s3prl_gendistiller.superb.suite.suite import Suite
from s3prl_gendistiller.superb.tasks import Metric, Task

COST_HEADER = ("parameters", "G multiply-adds per s", "CPU s per s")


@dataclass(frozen=True)
class Cell:
    """The values of one student in one column, a value for each of its runs."""

    values: Sequence[float]
    decimals: int = 2

    @property
    def mean(self) -> float | None:
        return statistics.fmean(self.values) if self.values else None

    @property
    def spread(self) -> float | None:
        """Sample standard deviation; None for fewer than two values."""
        return statistics.stdev(self.values) if len(self.values) > 1 else None

    def text(self, runs: int) -> str:
        """Mean ± standard deviation, with the number of values if that is not the row's number of runs."""
        shown = mean_and_spread(self.values, self.decimals)
        return f"{shown} (n {len(self.values)})" if self.values and len(self.values) != runs else shown


@dataclass(frozen=True)
class Row:
    """One student. `cost` is None where it was not measured."""

    student: str
    runs: Replicas
    cost: Cost | None
    cells: Sequence[Cell]


@dataclass(frozen=True)
class Table:
    """The rows of all students, and the lines that belong below them.

    Attributes:
        columns: heads of `Row.cells`.
        with_runs, with_cost: whether the rows differ from single runs, and whether a cost is known.
    """

    columns: Sequence[str]
    rows: Sequence[Row]
    with_runs: bool
    with_cost: bool
    notes: Sequence[str]

    def texts(self) -> list[list[str]]:
        """Header and rows as text."""
        runs, cost = ["runs (n)"] if self.with_runs else [], list(COST_HEADER) if self.with_cost else []
        found = [["student", *runs, *cost, *self.columns]]
        for row in self.rows:
            shown = [row.runs.describe()] if self.with_runs else []
            costs = _cost_cells(row.cost) if self.with_cost else []
            count = len(row.runs.models)
            found.append([row.student, *shown, *costs, *(cell.text(count) for cell in row.cells)])
        return found

    def markdown(self) -> str:
        notes = "".join(f"\n{note}\n" for note in self.notes)
        return markdown(self.texts()) + notes


def build_table(
    suite: Suite, results: Results, scores: Mapping[str, float | None], costs: Mapping[str, Cost], notes: Sequence[str]
) -> Table:
    """One row for each student, over its distillations and seeds of heads.

    Args:
        scores, costs: scores and costs by model; empty costs, and scores that are all None, have no columns.
        notes: lines that follow those on the runs.
    """
    shown = columns(suite, results)
    with_score = any(score is not None for score in scores.values())
    rows = []
    for group, models in suite.groups().items():
        runs = replicas(models)
        cells = [Cell(numbers(results, runs.models, task, metric)) for task, metric in shown]
        points = [score for model in runs.models if (score := scores[model.name]) is not None]
        rows.append(Row(group, runs, costs.get(models[0].name), [*cells, *([Cell(points, 0)] if with_score else [])]))
    names = [*(label(task, metric) for task, metric in shown), *(["score"] if with_score else [])]
    with_runs = any(len(models) > 1 for models in suite.groups().values())
    return Table(names, rows, with_runs, bool(costs), [*_notes(suite, rows), *notes])


def _notes(suite: Suite, rows: Sequence[Row]) -> list[str]:
    """Lines on the spread, on runs that repeat another one, and on corpora that are not SUPERB's."""
    found = []
    if any(len(row.runs.models) > 1 for row in rows):
        what = "all runs of a row: distillations (training seeds of the student) and heads (seeds of the task's head)"
        found.append(f"±: sample standard deviation over {what}.")
        if any(row.runs.heads > 1 for row in rows) and any(not task.trained for task in suite.tasks):
            names = ", ".join(task.name.upper() for task in suite.tasks if not task.trained)
            found.append(f"{names} trains no head, so that its values have no spread over heads.")
    for row in rows:
        for model, first in row.runs.repeated:
            found.append(f"{row.student}: {model.name} is the same model as {first.name} and does not count.")
    if suite.preset == "mini":
        found.append("Preset mini: a tenth of SUPERB's steps, so that no number is comparable with a published one.")
    if suite.synthetic:
        found.append("The corpora are not those of SUPERB, so that no number is comparable with a published one.")
    return found


def columns(suite: Suite, results: Results) -> list[tuple[Task, Metric]]:
    """The columns of the suite, with ASR's language model also where an earlier command has used it."""
    found = {key for tasks in results.values() for outcome in tasks.values() for key in outcome.values}
    shown = []
    for task in suite.tasks:
        shown += [(task, metric) for metric in suite.metrics(task)]
        if task.lm_metric and task.lm_metric.key in found and not suite.with_lm(task):
            shown.append((task, task.lm_metric))
    return shown


def numbers(results: Results, models: Sequence[BenchmarkedModel], task: Task, metric: Metric) -> list[float]:
    """The values of a metric, of those models that have one; without a head, one value for each distillation."""
    found = {model.name: outcome for model in models if (outcome := results.get(model.name, {}).get(task.name))}
    with_value = [model for model in models if model.name in found and metric.key in found[model.name].values]
    counting = with_value if task.trained else one_per_distillation(with_value)
    return [found[model.name].values[metric.key] for model in counting]


def label(task: Task, metric: Metric) -> str:
    return f"{task.name.upper()} {metric.label} {arrow(metric)}"


def arrow(metric: Metric) -> str:
    """The direction of a better value."""
    return "↑" if metric.higher_is_better else "↓"


def markdown(rows: Sequence[Sequence[str]]) -> str:
    """A table whose first row is the header, columns aligned."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [" | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    rule = "|".join("-" * (width + 2) for width in widths)
    return "\n".join([f"| {lines[0]} |", f"|{rule}|", *(f"| {line} |" for line in lines[1:])]) + "\n"


def mean_and_spread(values: Sequence[float], decimals: int = 2) -> str:
    """Mean ± standard deviation; a single value alone; an empty text for no values."""
    if not values:
        return ""
    mean = f"{statistics.fmean(values):.{decimals}f}"
    return mean if len(values) == 1 else f"{mean} ± {statistics.stdev(values):.{decimals}f}"


def _cost_cells(cost: Cost | None) -> list[str]:
    if cost is None:
        return [""] * len(COST_HEADER)
    return [f"{cost.parameters:,}", f"{cost.gmacs_per_s:.3f}", f"{cost.cpu_s_per_s:.4f}"]

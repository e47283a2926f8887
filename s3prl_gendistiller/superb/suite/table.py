"""The Markdown table of a suite, and tables in general."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

from s3prl_gendistiller.superb.cost.multiply_adds import Cost
from s3prl_gendistiller.superb.models import BenchmarkedModel
from s3prl_gendistiller.superb.suite.results import Results
from s3prl_gendistiller.superb.suite.suite import Suite
from s3prl_gendistiller.superb.tasks import Metric, Task

COST_HEADER = ("parameters", "G multiply-adds per s", "CPU s per s")


def table(suite: Suite, results: Results, scores: Mapping[str, float | None], costs: Mapping[str, Cost]) -> str:
    """One row for each group of seeds; with several seeds mean and standard deviation.

    Args:
        scores, costs: scores and costs by model; empty costs, and scores that are all None, have no columns.
    """
    shown = columns(suite, results)
    with_score = any(score is not None for score in scores.values())
    header = ["student", *(COST_HEADER if costs else ()), *(label(task, metric) for task, metric in shown)]
    rows = [[*header, *(["score"] if with_score else [])]]
    for group, models in suite.groups().items():
        cells = [mean_and_spread(numbers(results, models, task, metric)) for task, metric in shown]
        points = [score for model in models if (score := scores[model.name]) is not None]
        cost = _cost_cells(costs.get(models[0].name)) if costs else ()
        rows.append([group, *cost, *cells, *([mean_and_spread(points, 0)] if with_score else [])])
    return markdown(rows)


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
    """The values of a metric, of those models that have one."""
    outcomes = [results.get(model.name, {}).get(task.name) for model in models]
    return [outcome.values[metric.key] for outcome in outcomes if outcome is not None and metric.key in outcome.values]


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


def _cost_cells(cost: Cost | None) -> tuple[str, ...]:
    if cost is None:
        return ("",) * len(COST_HEADER)
    return (f"{cost.parameters:,}", f"{cost.gmacs_per_s:.3f}", f"{cost.cpu_s_per_s:.4f}")

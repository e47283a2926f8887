"""results.json, the Markdown table and the chart of a suite."""

from __future__ import annotations

import dataclasses
import json
import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from s3prl_gendistiller.distill.manifest import replacing
from s3prl_gendistiller.superb.cost.costs import Cost
from s3prl_gendistiller.superb.leaderboard.scores import (
    LEADERBOARD,
    References,
    counted_tasks,
    overall_score,
    scored_tasks,
)
from s3prl_gendistiller.superb.suite.runs import Outcome
from s3prl_gendistiller.superb.suite.suite import Suite
from s3prl_gendistiller.superb.tasks import Metric, Task

COST_HEADER = ("parameters", "G multiply-adds per s", "CPU s per s")
RESULTS, TABLE, CHART = "results.json", "table.md", "scores.png"
Results = Mapping[str, Mapping[str, Outcome]]


def write_results(
    suite: Suite,
    results: Results,
    failures: Sequence[str],
    references: References | None,
    costs: Mapping[str, Cost] | None = None,
) -> list[Path]:
    """Writes all three below the suite's folder and returns their paths.

    Args:
        results: student -> task -> outcome.
        failures: one line each.
        references: of the score; None leaves it out.
        costs: by student; None leaves them out.
    """
    costs = costs or {}
    scores = {name: _score(tasks, references) for name, tasks in results.items()}
    content: dict[str, Any] = {
        "preset": suite.preset,
        "features": suite.features,
        "seed": suite.seed,
        "students": {
            student.name: {
                "kind": student.kind,
                "upstream": student.upstream,
                "checkpoint": None if student.checkpoint is None else str(student.checkpoint),
                "steps": student.steps,
                "score": scores[student.name],
                "cost": dataclasses.asdict(costs[student.name]) if student.name in costs else None,
                "tasks": {name: _plain(outcome) for name, outcome in results[student.name].items()},
            }
            for student in suite.students
        },
        "scored_tasks": None if references is None else scored_tasks(references),
        "failures": list(failures),
    }
    paths = [suite.out / name for name in (RESULTS, TABLE, CHART)]
    rows = table(suite, results, scores, costs)
    if references is not None and any(score is not None for score in scores.values()):
        rows += _left_out(references)
    for path, text in zip(paths, (json.dumps(content, indent=2, allow_nan=False) + "\n", rows), strict=False):
        with replacing(path) as part:
            part.write_text(text, encoding="utf-8")
    draw(suite, results, paths[2])
    return paths


def _plain(outcome: Outcome) -> dict[str, Any]:
    """For JSON, which knows no NaN: a learning rate that diverged has null on dev."""
    content = dataclasses.asdict(outcome)
    for reached in (content["dev"], *content["trials"].values()):
        reached.update({key: None for key, value in reached.items() if value is None or not math.isfinite(value)})
    return content


def choose_references(results: Results, base: str, top: str, preset: str) -> References | None:
    """From the students named `base` (0) to `top` (1000) if both are there; else the leaderboard's for "official"."""
    if base in results and top in results:
        return References(_values(results[base]), _values(results[top]))
    return LEADERBOARD if preset == "official" else None


def table(
    suite: Suite, results: Results, scores: Mapping[str, float | None], costs: Mapping[str, Cost] | None = None
) -> str:
    """One row a kind of student; with several seeds mean and standard deviation."""
    costs = costs or {}
    columns = _columns(suite, results)
    with_score = any(score is not None for score in scores.values())
    header = [f"{task.name.upper()} {metric.label} {arrow(metric)}" for task, metric in columns]
    rows = [["student", *(COST_HEADER if costs else ()), *header, *(["score"] if with_score else [])]]
    for kind, students in suite.kinds().items():
        names = [student.name for student in students]
        cells = [mean_and_spread(_numbers(results, names, task, metric)) for task, metric in columns]
        points = [score for name in names if (score := scores[name]) is not None]
        cost = _cost_cells(costs.get(names[0])) if costs else ()
        rows.append([kind, *cost, *cells, *([mean_and_spread(points, 0)] if with_score else [])])
    return markdown(rows)


def draw(suite: Suite, results: Results, out: Path) -> None:
    """One panel a metric, one bar a kind of student, with the seeds' standard deviation."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    panels = _columns(suite, results)
    kinds = suite.kinds()
    across = min(4, len(panels))
    down = -(-len(panels) // across)
    size = (3.4 * across, 0.9 * down + 0.34 * down * len(kinds))
    figure, axes = pyplot.subplots(down, across, figsize=size, squeeze=False, layout="constrained")
    for axis in axes.flat[len(panels) :]:
        axis.set_axis_off()
    for axis, (task, metric) in zip(axes.flat, panels, strict=False):
        for position, (kind, students) in enumerate(kinds.items()):
            values = _numbers(results, [student.name for student in students], task, metric)
            if values:
                spread = statistics.stdev(values) if len(values) > 1 else None
                axis.barh(position, statistics.fmean(values), xerr=spread, color=f"C{position % 10}", label=kind)
        axis.set_yticks(range(len(kinds)), list(kinds), fontsize=8)
        axis.invert_yaxis()
        axis.set_title(f"{task.name.upper()} {metric.label} {arrow(metric)}", fontsize=9)
        axis.tick_params(axis="x", labelsize=8)
    with replacing(out) as part:
        figure.savefig(part, dpi=120, format="png")
    pyplot.close(figure)


def markdown(rows: Sequence[Sequence[str]]) -> str:
    """A table whose first row is the header, columns aligned."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [" | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    rule = "|".join("-" * (width + 2) for width in widths)
    return "\n".join([f"| {lines[0]} |", f"|{rule}|", *(f"| {line} |" for line in lines[1:])]) + "\n"


def mean_and_spread(values: Sequence[float], decimals: int = 2) -> str:
    """Mean ± standard deviation; the value if there is one, nothing if there is none."""
    if not values:
        return ""
    mean = f"{statistics.fmean(values):.{decimals}f}"
    return mean if len(values) == 1 else f"{mean} ± {statistics.stdev(values):.{decimals}f}"


def _columns(suite: Suite, results: Results) -> list[tuple[Task, Metric]]:
    """Of the suite, and of ASR with a language model also what an earlier command has found."""
    found = {key for tasks in results.values() for outcome in tasks.values() for key in outcome.values}
    columns = []
    for task in suite.tasks:
        metrics = suite.metrics(task)
        if task.lm_metric and task.lm_metric.key in found and task.lm_metric not in metrics:
            metrics = (*metrics, task.lm_metric)
        columns += [(task, metric) for metric in metrics]
    return columns


def _numbers(results: Results, names: Sequence[str], task: Task, metric: Metric) -> list[float]:
    outcomes = [results.get(name, {}).get(task.name) for name in names]
    return [outcome.values[metric.key] for outcome in outcomes if outcome is not None and metric.key in outcome.values]


def _cost_cells(cost: Cost | None) -> tuple[str, ...]:
    if cost is None:
        return ("",) * len(COST_HEADER)
    return (f"{cost.parameters:,}", f"{cost.gmacs_per_s:.3f}", f"{cost.cpu_s_per_s:.4f}")


def arrow(metric: Metric) -> str:
    """Which way is better."""
    return "↑" if metric.higher_is_better else "↓"


def _values(outcomes: Mapping[str, Outcome]) -> dict[str, dict[str, float]]:
    return {task: outcome.values for task, outcome in outcomes.items()}


def _left_out(references: References) -> str:
    """Below a table whose score leaves tasks out: which, and why."""
    names = [task.upper() for task in counted_tasks() if task not in scored_tasks(references)]
    if not names:
        return ""
    return f"\nscore: without {', '.join(names)}, where the upper reference is no better than the lower.\n"


def _score(outcomes: Mapping[str, Outcome], references: References | None) -> float | None:
    return None if references is None else overall_score(_values(outcomes), references)

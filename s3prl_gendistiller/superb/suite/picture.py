"""The picture of a suite: one panel for each metric, one bar for each student."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from s3prl_gendistiller.superb.pictures import chart, notes, shown
from s3prl_gendistiller.superb.suite.replicas import Replicas, replicas
from s3prl_gendistiller.superb.suite.results import Results
from s3prl_gendistiller.superb.suite.suite import Suite
from s3prl_gendistiller.superb.suite.table import Cell, columns, numbers
from s3prl_gendistiller.superb.tasks import Metric, Task

_ROOM = 1.75
"""Length of the horizontal axis in lengths of the longest bar: its value stands beside the bar."""

_WORDS = {
    "acc": "accuracy",
    "PER": "phoneme error rate",
    "WER": "word error rate",
    "CER": "character error rate",
    "EER": "equal error rate",
    "DER": "diarization error rate",
    "MTWV": "term-weighted value (MTWV)",
}
"""Abbreviations of the table, in words."""


def draw(suite: Suite, results: Results, out: Path) -> None:
    """One bar for each student, with its value, and the standard deviation over the runs of the student."""
    panels = columns(suite, results)
    students = {group: replicas(models) for group, models in suite.groups().items()}
    across = min(3, len(panels))
    with chart(out, 4.2, 0.9 + 0.3 * len(students), len(panels), across) as axes:
        for axis, (task, metric) in zip(axes, panels, strict=True):
            cells = [Cell(numbers(results, one.models, task, metric)) for one in students.values()]
            _bars(axis, cells, list(students.values()))
            if "%" in metric.label and all((cell.mean or 0) <= 100 < axis.get_xlim()[1] for cell in cells):
                axis.set_xticks(range(0, 101, 20))  # the room for values is no percentage
            axis.set_yticks(range(len(students)), [_name(group, one) for group, one in students.items()], fontsize=8)
            axis.set_title(_title(task, metric), fontsize=9)
        notes(axes[0], _notes(suite, results, students))


def _bars(axis: Any, cells: Sequence[Cell], students: Sequence[Replicas]) -> None:
    reach = 0.0
    lowest = 0.0
    for position, (cell, runs) in enumerate(zip(cells, students, strict=True)):
        if cell.mean is None:
            axis.text(0, position, " no result", va="center", fontsize=8, color="0.4")
            continue
        axis.barh(position, cell.mean, xerr=cell.spread, color=f"C{position % 10}", capsize=2)
        end = max(0.0, cell.mean + (cell.spread or 0.0))
        axis.annotate(
            cell.text(len(runs.models)),
            (end, position),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
        )
        reach, lowest = max(reach, end), min(lowest, cell.mean - (cell.spread or 0.0))
    axis.set_xlim(1.05 * lowest if lowest < 0 else 0, _ROOM * reach or 1)
    axis.set_ylim(len(cells) - 0.5, -0.5)
    axis.tick_params(axis="x", labelsize=8)
    axis.set_axisbelow(True)


def _name(group: str, runs: Replicas) -> str:
    count = len(runs.models)
    return shown(group) if count == 1 else f"{shown(group)} (n {count})"


def _title(task: Task, metric: Metric) -> str:
    measure = " ".join(_WORDS.get(word, word) for word in metric.label.split())
    better = "higher" if metric.higher_is_better else "lower"
    return f"{task.title} ({task.name.upper()})\n{measure}, {better} is better"


def _notes(suite: Suite, results: Results, students: dict[str, Replicas]) -> list[str]:
    found = []
    if several := {group: one for group, one in students.items() if len(one.models) > 1}:
        runs = "; ".join(f"{group} {one.describe()}" for group, one in several.items())
        found.append(f"Error bars and ±: one sample standard deviation over the n runs of a student ({runs}).")
    for group, one in students.items():
        missing = [
            task.name.upper()
            for task in suite.tasks
            if not any(task.name in results.get(model.name, {}) for model in one.models)
        ]
        if missing:
            found.append(f"{group}: no result for {', '.join(missing)}.")
        found += [f"{two.name} is the same model as {first.name} and does not count." for two, first in one.repeated]
    if suite.preset != "official" or suite.synthetic:
        speech = " on synthetic speech" if suite.synthetic else ""
        found.append(
            f"Heads trained with {suite.preset} settings{speech}: not comparable with published SUPERB scores."
        )
    return found

"""The curves of a board as plain data: searches of learning rates, and trainings of students."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from s3prl_gendistiller.distill.metrics import METRICS_FILE, read_metrics
from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.superb.board.suites import FinishedSuite
from s3prl_gendistiller.superb.suite.results import Outcome

POINTS = 200
"""Most points of one training curve: every n-th entry of a longer one is shown, and the last."""


def searches(suites: Sequence[FinishedSuite]) -> list[dict[str, Any]]:
    """One entry for each student and task whose learning rate (QbE: layer) was chosen on dev.

    All runs of a student share one search, which is shown once.
    """
    found = []
    for one in suites:
        for group, models in one.suite.groups().items():
            for task in one.suite.tasks:
                for model in models:
                    outcome = one.results[model.name].get(task.name)
                    points = [] if outcome is None else list(_tried(outcome))
                    if outcome is not None and len({point["rate"] for point in points}) > 1:
                        chosen = outcome.lr if task.trained else outcome.layer
                        found.append(
                            {
                                "name": group,
                                "suite": one.label,
                                "task": task.name.upper(),
                                "label": task.dev_metric.label,
                                "higher": task.dev_metric.higher_is_better,
                                "axis": "learning rate" if task.trained else "layer",
                                "chosen": chosen,
                                "points": points,
                            }
                        )
                        break
    return found


def _tried(outcome: Outcome) -> Iterator[dict[str, Any]]:
    """The finite values on dev: of successive halving by number of steps, else at the end of each training."""
    if outcome.trials:
        for rate, reached in outcome.trials.items():
            for steps, value in reached.items():
                yield from _point(rate, value, f"{int(steps):,} steps" if steps.isdecimal() else steps)
        return
    for rate, value in outcome.dev.items():
        yield from _point(rate, value, "whole training")


def _point(rate: str, value: float | None, steps: str) -> Iterator[dict[str, Any]]:
    """Nothing for a rate that diverged, or that is no number because the file was edited."""
    try:
        x = float(rate)
    except ValueError:
        return
    if value is not None and math.isfinite(value) and math.isfinite(x):
        yield {"rate": x, "value": value, "steps": steps}


def trainings(suites: Sequence[FinishedSuite]) -> tuple[list[dict[str, Any]], list[str]]:
    """The loss of each distillation whose run is still there, and a line for each one that cannot be read.

    A checkpoint names its run: metrics.jsonl beside it. A checkpoint that was moved alone has no curve.
    """
    found, problems = [], []
    for one in suites:
        seen = set()
        for model in one.suite.models:
            folder = None if model.checkpoint is None else model.checkpoint.parent
            if folder is None or folder in seen or not (folder / METRICS_FILE).is_file():
                continue
            seen.add(folder)
            try:
                splits = {split: read_metrics(folder, split) for split in ("train", "valid")}
            except UserError as error:
                problems.append(f"{model.distillation}: {error}")
                continue
            points = [point for split, entries in splits.items() for point in _losses(entries, split)]
            if points:
                found.append({"name": model.group, "run": model.distillation, "suite": one.label, "points": points})
    return found, problems


def _losses(entries: Mapping[int, Mapping[str, float]], split: str) -> list[dict[str, Any]]:
    speech = "training files" if split == "train" else "held-out files"
    whole = [
        {"step": step, "loss": entry["loss"], "speech": speech}
        for step, entry in entries.items()
        if math.isfinite(entry.get("loss", math.nan))
    ]
    every = math.ceil(len(whole) / POINTS) or 1
    return [point for place, point in enumerate(whole) if place % every == 0 or place == len(whole) - 1]

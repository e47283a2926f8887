"""The leaderboard's score: one number over the ten tasks.

A metric scores 1000 (v - base) / (top - base), where an error v counts as 100 - v. Slot filling scores the mean of its
two metrics, and the score is the mean of the ten tasks. `LEADERBOARD` holds the references of superbbenchmark.org, by
which HuBERT Base has 941 and DistilHuBERT 717. A small suite has references of its own: FBANK (0) and its teacher
(1000), over the tasks on which that teacher is better than FBANK; on other tasks the scale would run backwards.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from s3prl_gendistiller.superb.tasks import TASKS

Values = Mapping[str, Mapping[str, float]]
"""Task -> metric -> value in the unit of the table (errors as errors)."""


@dataclass(frozen=True)
class References:
    """The values that score 0 and 1000."""

    base: Values
    top: Values


def _of_tasks(which: int) -> Values:
    return {
        task.name: {metric.key: metric.references[which] for metric in task.metrics if metric.references is not None}
        for task in TASKS.values()
        if task.counted
    }


LEADERBOARD = References(base=_of_tasks(0), top=_of_tasks(1))
_FIRST = ("pr", "sid", "ks", "qbe", "ic", "asr", "asv", "er", "sd", "sf")


def counted_tasks(preset: str = "official") -> list[str]:
    """The leaderboard's tasks in a preset, in the order in which results.json lists them and the score adds them up."""
    counted = [name for name, task in TASKS.items() if task.counted and preset in task.presets]
    return sorted(counted, key=lambda name: _FIRST.index(name) if name in _FIRST else len(_FIRST))


def scored_tasks(references: References) -> tuple[str, ...]:
    """The tasks on which the top is better than the base in every counted metric; on the leaderboard all ten."""
    return tuple(task for task in counted_tasks() if _top_is_better(task, references))


def task_score(task: str, values: Mapping[str, float], references: References) -> float | None:
    """The score of one task; None where a value is missing or the top is no better than the base."""
    counted = TASKS[task].counted
    if not counted or not _top_is_better(task, references) or not set(counted) <= set(values):
        return None
    base, top = references.base[task], references.top[task]  # turning errors into 100 - v cancels
    points = [1000 * (values[metric] - base[metric]) / (top[metric] - base[metric]) for metric in counted]
    return sum(points) / len(points)


def overall_score(values: Values, references: References, preset: str = "official") -> float | None:
    """The mean over those of `scored_tasks` that a preset has; None unless values and references have all its tasks."""
    whole = all(
        set(TASKS[task].counted) <= set(source.get(task, {}))
        for task in counted_tasks(preset)
        for source in (values, references.base, references.top)
    )
    tasks = [task for task in scored_tasks(references) if preset in TASKS[task].presets]
    if not whole or not tasks:
        return None
    points = [task_score(task, values[task], references) for task in tasks]
    return sum(point for point in points if point is not None) / len(tasks)


def _top_is_better(task: str, references: References) -> bool:
    """Whether the top is better in every counted metric; False where a reference lacks a number."""
    base, top = references.base.get(task, {}), references.top.get(task, {})
    counted = {
        metric.key: 1 if metric.higher_is_better else -1
        for metric in TASKS[task].metrics
        if metric.references is not None
    }
    return all(key in base and key in top and (top[key] - base[key]) * sign > 0 for key, sign in counted.items())

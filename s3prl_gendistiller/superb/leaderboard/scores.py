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


@dataclass(frozen=True)
class References:
    """The values that score 0 and 1000: task -> metric -> value in the unit of the table (errors as errors)."""

    base: Values
    top: Values


LEADERBOARD = References(
    base={
        "pr": {"per": 100 - 17.99},
        "sid": {"acc": 20.058174},
        "ks": {"acc": 41.3826674},
        "qbe": {"mtwv": 0.58},
        "ic": {"acc": 9.649354219},
        "asr": {"wer": 100 - 76.82},
        "asv": {"eer": 100 - 90.44},
        "er": {"acc": 48.23672168},
        "sd": {"der": 100 - 89.95},
        "sf": {"f1": 69.64, "cer": 100 - 47.06},
    },
    top={
        "pr": {"per": 100 - 96.47},
        "sid": {"acc": 90.3},
        "ks": {"acc": 96.66},
        "qbe": {"mtwv": 7.36},
        "ic": {"acc": 98.76},
        "asr": {"wer": 100 - 96.38},
        "asv": {"eer": 100 - 94.89},
        "er": {"acc": 67.62},
        "sd": {"der": 100 - 94.38},
        "sf": {"f1": 89.81, "cer": 100 - 78.24},
    },
)
COUNTED = {task: tuple(metrics) for task, metrics in LEADERBOARD.base.items()}


def scored_tasks(references: References) -> tuple[str, ...]:
    """The tasks on which the top is better than the base in every counted metric; on the leaderboard all ten."""
    return tuple(task for task in COUNTED if _top_is_better(task, references))


def task_score(task: str, values: Mapping[str, float], references: References) -> float | None:
    """The score of one task; None where a value is missing or the top is no better than the base."""
    if not _top_is_better(task, references) or not set(COUNTED[task]) <= set(values):
        return None
    base, top = references.base[task], references.top[task]  # turning errors into 100 - v cancels
    points = [1000 * (values[metric] - base[metric]) / (top[metric] - base[metric]) for metric in COUNTED[task]]
    return sum(points) / len(points)


def overall_score(values: Values, references: References) -> float | None:
    """The mean over `scored_tasks`; None unless values and references have all ten tasks.

    Args:
        values: task -> metric -> value in the unit of the table.
    """
    whole = all(
        set(COUNTED[task]) <= set(source.get(task, {}))
        for task in TASKS
        for source in (values, references.base, references.top)
    )
    tasks = scored_tasks(references)
    if not whole or not tasks:
        return None
    points = [task_score(task, values[task], references) for task in tasks]
    return sum(point for point in points if point is not None) / len(tasks)


def _top_is_better(task: str, references: References) -> bool:
    """Whether the top is better in every counted metric; False where a reference lacks a number."""
    base, top = references.base.get(task, {}), references.top.get(task, {})
    counted = [metric for metric in TASKS[task].metrics if metric.key in COUNTED[task]]
    return all(
        metric.key in base
        and metric.key in top
        and (top[metric.key] - base[metric.key]) * (1 if metric.higher_is_better else -1) > 0
        for metric in counted
    )

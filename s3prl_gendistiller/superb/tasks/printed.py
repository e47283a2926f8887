"""The numbers of a run, from the output of its commands and the files of its folder."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.formats.printed import printed_values
from s3prl_gendistiller.superb.checks import value_problem
from s3prl_gendistiller.superb.tasks.base import Task


class NoNumber(UserError):
    """An evaluation printed NaN or a value that its metric cannot have: most likely the training has diverged."""


def best_on_dev(task: Task, text: str, evaluations: int | None = None) -> float | None:
    """The best `Task.dev_metric` of the first evaluations of a training; NaN if none was finite, None without any."""
    metric = task.dev_metric
    values = printed_values(text, task.dev, metric.printed)[:evaluations]
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        return math.nan if values else None
    return (max if metric.higher_is_better else min)(finite) * metric.factor


def evaluated(task: Task, folder: Path, text: str, config: dict[str, Any], split: str) -> dict[str, float]:
    """`Task.values` of a run's whole configuration; NoNumber if a metric cannot have its value."""
    try:
        values = task.values(folder, text, config.get("downstream_expert", {}), split)
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise UserError(f"{task.name}: {folder}: what the evaluation wrote is not readable ({error})") from error
    for metric in task.metrics:
        if problem := value_problem(metric, values[metric.key]):
            raise NoNumber(f"{task.name}: {split} has no valid {metric.label}: {problem}; see {folder}")
    return values

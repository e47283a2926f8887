"""The numbers of a run, read from what s3prl printed and wrote."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.superb.checks import value_problem
from s3prl_gendistiller.superb.tasks import Metric, Task
from s3prl_gendistiller.superb.tasks import der as diarization
from s3prl_gendistiller.superb.tasks import mtwv as detection

# `dev acc: 0.5`, `sv-voxceleb1/test-EER: 0.1` and `mode dev acc 0.9 der 0.1`
_FORMS = (r"^(?:\S+/)?{split}[ -]{name}: ({number})\s*$", r"^mode {split} .*\b{name} ({number})")
_NUMBER = r"[-+.\deE]+|nan|inf"


class NoNumber(UserError):
    """An evaluation gave what its metric cannot be: most likely the training has diverged."""


def printed_values(text: str, split: str, name: str) -> list[float]:
    """All values of a metric in s3prl's output, in order."""
    found = []
    for form in _FORMS:
        pattern = form.format(split=re.escape(split), name=re.escape(name), number=_NUMBER)
        found += [float(value) for value in re.findall(pattern, text, flags=re.MULTILINE)]
    return found


def best_on_dev(task: Task, text: str, evaluations: int | None = None) -> float | None:
    """The best value of the task's first metric on dev in the output of a training.

    None if it was never evaluated, NaN if what it gave never was finite.

    Args:
        evaluations: how many of them count, from the first; None for all.
    """
    metric = task.metrics[0]
    printed, higher = (metric.printed, metric.higher_is_better) if metric.printed else ("acc", True)
    # diarization prints no DER; it chooses its checkpoint by the frames' accuracy
    values = printed_values(text, task.dev, printed)[:evaluations]
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        return math.nan if values else None
    return (max if higher else min)(finite) * metric.factor


def dev_is_higher_better(task: Task) -> bool:
    """The direction of `best_on_dev`."""
    return task.metrics[0].higher_is_better if task.metrics[0].printed else True


def evaluated(task: Task, folder: Path, text: str, config: dict[str, Any], split: str) -> dict[str, float]:
    """The metrics of an evaluated run, in the units of their labels.

    Args:
        folder: of the run.
        text: what s3prl printed while it evaluated.
        config: of the run, its paths filled in.
        split: s3prl's name of what was evaluated.

    Raises:
        NoNumber: a number is none that its metric can have.
        UserError: a number is not there.
    """
    try:
        values = _evaluated(task, folder, text, config, split)
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise UserError(f"{task.name}: {folder}: what the evaluation wrote is not readable ({error})") from error
    for metric in task.metrics:
        problem = value_problem(metric, values[metric.key])
        if problem:
            raise NoNumber(f"{task.name}: {split} gave as {metric.label} what is none: {problem}; see {folder}")
    return values


def _evaluated(task: Task, folder: Path, text: str, config: dict[str, Any], split: str) -> dict[str, float]:
    if task.name == "qbe":
        truth = Path(config["downstream_expert"]["datarc"]["dataset_root"]) / "scoring"
        folder_of_truth = truth / f"groundtruth_quesst14_{'dev' if split == 'dev' else 'eval'}"
        return {"mtwv": 100 * detection.score_run(folder, folder_of_truth)}
    if task.name == "sd":
        rttm = Path(config["downstream_expert"]["loaderrc"]["test_dir"]) / "rttm"
        rates = diarization.score_run(folder, rttm)
        frames = printed_values(text, split, "der")
        return {"der": 100 * min(rates.values()), **({"frame_der": 100 * frames[-1]} if frames else {})}
    return {metric.key: _last(task, metric, text, split) for metric in task.metrics}


def _last(task: Task, metric: Metric, text: str, split: str) -> float:
    values = printed_values(text, split, metric.printed)
    if not values:
        raise UserError(f"{task.name}: the evaluation printed no {split} {metric.printed}")
    return values[-1] * metric.factor

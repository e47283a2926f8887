"""A run's metrics.jsonl: one JSON object a line, with split ("train" or "valid"), step, and the mean of every term."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from s3prl_gendistiller.errors import UserError

METRICS_FILE = "metrics.jsonl"


def append_metrics(folder: str | Path, split: str, step: int, report: Mapping[str, float]) -> None:
    """Adds one line to the run's metrics."""
    with (Path(folder) / METRICS_FILE).open("a", encoding="utf-8") as file:
        file.write(json.dumps({"split": split, "step": step, **report}) + "\n")


def read_metrics(folder: str | Path, split: str) -> dict[int, dict[str, float]]:
    """Step to metrics of a run, in order. A step that a resumed run wrote again counts once, as written last.

    Raises:
        UserError: the run has logged nothing.
    """
    path = Path(folder) / METRICS_FILE
    if not path.is_file():
        raise UserError(f"{path}: not there; expected the folder of a run of run_pretrain.py that has logged once")
    steps: dict[int, dict[str, float]] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            entry = json.loads(line)  # a loss may be NaN there
            found, step = entry.pop("split"), int(entry.pop("step"))
            report = {str(name): float(value) for name, value in entry.items()}
        except (ValueError, RecursionError, AttributeError, KeyError, TypeError):
            continue  # the last line of a run that was killed while it wrote
        if found == split:
            steps[step] = report
    return dict(sorted(steps.items()))

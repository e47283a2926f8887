"""A run's metrics.jsonl: one JSON object a line, with split ("train" or "valid"), step, and the mean of every term."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from s3prl_gendistiller.errors import UserError

METRICS_FILE = "metrics.jsonl"


def append_metrics(folder: str | Path, split: str, step: int, report: Mapping[str, float]) -> None:
    with (Path(folder) / METRICS_FILE).open("a", encoding="utf-8") as file:
        file.write(json.dumps({"split": split, "step": step, **report}) + "\n")


def read_metrics(folder: str | Path, split: str) -> dict[int, dict[str, float]]:
    """Step -> metrics of a run, in order. The last line of a step counts if a resumed run wrote two.

    Raises:
        UserError: the run has logged nothing, or the file holds a line of another form.
    """
    path = Path(folder) / METRICS_FILE
    if not path.is_file():
        raise UserError(f"{path}: not there; expected the folder of a run of run_pretrain.py that has logged a step")
    steps: dict[int, dict[str, float]] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError):
            continue  # the last line of a run that was killed while writing
        if not _is_entry(entry):
            raise UserError(f"{path} line {number}: found {line[:60]!r}, expected split, step and numbers; correct it")
        if entry.pop("split") == split:
            steps[entry.pop("step")] = entry
    return dict(sorted(steps.items()))


def _is_entry(entry: Any) -> bool:
    """Whether a line has the form of `append_metrics`. Numbers may be NaN, as a diverged run logs them."""
    if not isinstance(entry, dict) or not {"split", "step"} <= entry.keys() or not isinstance(entry["step"], int):
        return False
    return all(isinstance(value, int | float) for name, value in entry.items() if name != "split")

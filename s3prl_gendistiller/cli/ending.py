"""The last lines of a distillation: where the student is, how good it is against its start, and the next command."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path

from s3prl_gendistiller.distill.metrics import METRICS_FILE, read_metrics
from s3prl_gendistiller.host.checkpoint import newest_checkpoint, read_checkpoint
from s3prl_gendistiller.host.paths import from_here
from s3prl_gendistiller.student_kinds import kind_of_weights


def last_lines(folder: Path, device: str) -> Iterator[str]:
    """The lines for a run's folder; none where the run has saved nothing. `device` is the one of the run."""
    newest = newest_checkpoint(folder)
    if newest is None:
        return
    path = from_here(newest)
    states = read_checkpoint(newest, mmap=True)
    kind = kind_of_weights(states)
    yield f"the {'student' if kind else 'newest checkpoint'} is in {path} (step {states['Step']:,})"
    if (folder / METRICS_FILE).is_file():
        yield _progress(folder)
    if kind is not None:
        upstream = kind.upstream_for(states["Upstream_Config"].get("student", {}))
        small = " -c downstream_runs/asr/small.yaml" if device == "cpu" else ""  # hours in place of weeks
        yield f"next: python run_downstream.py -u {upstream} -k {shlex.quote(path)} -d asr{small}"


def _progress(folder: Path) -> str:
    """The held-out loss, or else the training loss, at its first and at its last entry."""
    for split, name in (("valid", "held-out loss"), ("train", "training loss, without held-out speech:")):
        losses = {step: entry["loss"] for step, entry in read_metrics(folder, split).items() if "loss" in entry}
        if losses:
            return f"{name} {_compared(losses)}"
    return "no loss was logged"


def _compared(losses: Mapping[int, float]) -> str:
    (first, before), (last, after) = list(losses.items())[0], list(losses.items())[-1]
    if first == last:
        return f"{after:.4g} at step {last:,}, the only one"
    change = (after - before) / before if before > 0 else 0.0
    word = "lower" if change < 0 else "higher"
    return f"{before:.4g} at step {first:,}, {after:.4g} at step {last:,} ({abs(change):.0%} {word})"

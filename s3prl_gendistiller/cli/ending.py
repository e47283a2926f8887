"""The last lines of a distillation: where the student is, how good it is against its start, and the next command."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from s3prl_gendistiller.cli import shell
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
        yield _progress(folder, states["Step"], states.get("Config", {}))
    if kind is not None:
        upstream = kind.upstream_for(states["Upstream_Config"].get("student", {}))
        small = ["-c", "downstream_runs/asr/small.yaml"] if device == "cpu" else []  # hours in place of weeks
        flags = ["-u", upstream, "-k", path, "-d", "asr", *small]
        yield f"next: {shell.line([*shell.launcher('run_downstream.py'), *flags])}"


def _progress(folder: Path, end: int, config: Mapping[str, Any]) -> str:
    """The held-out loss, or else the training loss, at its first and at its last entry.

    Entries behind the step `end` are of a run that was killed, before a shorter run went on from its checkpoint.
    """
    data = config.get("pretrain_expert", {}).get("datarc", {})
    why = ", without held-out speech"
    if data.get("valid_sets"):  # the run was shorter
        why = f" (held-out speech is scored every {data.get('valid_step')} steps, valid_step)"
    for split, name in (("valid", "held-out loss"), ("train", f"training loss{why}:")):
        entries = read_metrics(folder, split).items()
        losses = {step: entry["loss"] for step, entry in entries if "loss" in entry and step <= end}
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

"""The number of layers that a trained student generates (``-g``)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.host.checkpoint import read_checkpoint, student_kind


def generation_text(steps: int) -> str:
    """Text that ``-g`` takes in place of a file, so that a stored run needs no file to be evaluated."""
    return f"steps: {steps}"


def check_steps(steps: int | None, checkpoint: str | Path, states: Mapping[str, Any] | None = None) -> None:
    """UserError if a student cannot generate `steps` layers (None: all), before the student is built.

    `states` is the content of the checkpoint, if it has been read.
    """
    if steps is None:
        return
    content = dict(read_checkpoint(checkpoint, mmap=True) if states is None else states)
    if not student_kind(content, checkpoint).stepwise:
        raise UserError(f"steps: found {steps} for {checkpoint}, which predicts all its layers at once; leave it out")
    layers = content["Upstream_Config"]["distill"]["target_layers"]
    if not 1 <= steps <= len(layers):
        raise UserError(
            f"steps: found {steps}, expected 1..{len(layers)}: {checkpoint} generates the teacher's layers "
            f"{', '.join(map(str, layers))} one after another"
        )

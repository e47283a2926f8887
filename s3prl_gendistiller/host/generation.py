"""How far a trained student generates: the model config (``-g``) of the upstream `gendistiller_local`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.host.checkpoint import read_checkpoint, student_kind
from s3prl_gendistiller.schema import from_dict, key, read_layered_yaml


@dataclass(frozen=True)
class GenerationConfig:
    """
    Attributes:
        steps: generate only the first layers: fewer steps, less time; None for all.
    """

    steps: int | None = key(None, low=1)


def generation_text(steps: int) -> str:
    """What ``-g`` takes in place of a file, so that an experiment needs none to be evaluated later."""
    return f"steps: {steps}"


def read_generation(source: str | Path | None) -> GenerationConfig:
    """From a YAML file, or from such YAML itself (``steps: 2``).

    Raises:
        UserError: it is neither, or holds anything else.
    """
    if source is None:
        return GenerationConfig()
    if os.path.isfile(source) or ":" not in str(source):
        return from_dict(GenerationConfig, read_layered_yaml(source), str(source))
    try:
        content = yaml.safe_load(str(source))
    except yaml.YAMLError:
        content = None
    if not isinstance(content, Mapping):
        raise UserError(f"-g: found {source!r}, expected a YAML file, or YAML such as 'steps: 2'")
    return from_dict(GenerationConfig, dict(content), "-g")


def check_steps(steps: int | None, checkpoint: str | Path, states: Mapping[str, Any] | None = None) -> None:
    """Refuses what a student cannot generate, before it is built.

    Args:
        steps: None for all that it generates.
        states: the checkpoint's content, if it has been read.

    Raises:
        UserError: names what was asked for and what there is.
    """
    if steps is None:
        return
    content = dict(read_checkpoint(checkpoint, mmap=True) if states is None else states)
    if student_kind(content, checkpoint) != "gendistiller":
        raise UserError(f"steps: found {steps} for {checkpoint}, which predicts all its layers at once; leave it out")
    layers = content["Upstream_Config"]["distill"]["target_layers"]
    if not 1 <= steps <= len(layers):
        raise UserError(
            f"steps: found {steps}, expected 1..{len(layers)}: {checkpoint} generates the teacher's layers "
            f"{', '.join(map(str, layers))} one after another"
        )

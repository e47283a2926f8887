"""The trained parts of objectives in a checkpoint: heads and projections beside the student.

A run that goes on needs them, and so does whoever compares the student with its teacher; the student in use does not.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from s3prl_gendistiller.config import ModelConfig
from s3prl_gendistiller.config_objectives import LayerwiseConfig
from s3prl_gendistiller.distill.objectives import Setting
from s3prl_gendistiller.distill.objectives.layerwise import Layerwise, build
from s3prl_gendistiller.distill.teacher import Teacher
from s3prl_gendistiller.distill.weights import check_weights, is_plain
from s3prl_gendistiller.errors import UserError

OBJECTIVES = "Objectives"
"""Key of the objectives' weights in a checkpoint."""


class NoDistanceError(UserError):
    """A student of another width than its teacher's that was trained without a projection."""


def load_objectives(objectives: nn.Module, states: Mapping[str, Any], path: str | Path) -> None:
    """Puts the objectives' weights of a checkpoint with the content `states` into `objectives`.

    UserError: the checkpoint `path` holds none, or those of other objectives, or the units file has changed; the
    objectives are unchanged then.
    """
    if OBJECTIVES not in states:
        raise UserError(
            f"{path}: the checkpoint holds no {OBJECTIVES}, expected the heads and projections that were trained with "
            "the student; use an earlier checkpoint, or start a new run"
        )
    _check_same_units(objectives, states[OBJECTIVES], path)
    check_weights(states[OBJECTIVES], objectives, path, "its own Upstream_Config", "these objectives")
    objectives.load_state_dict(states[OBJECTIVES])


def distance_objective(config: ModelConfig, states: Mapping[str, Any], teacher: Teacher, path: str | Path) -> Layerwise:
    """The objective `layerwise`, weighted as by default, that gives the distance of a trained student from its teacher.

    A student of another width is compared behind the projection that was trained with it.

    Args:
        config, states: the student's configuration, and the content of its checkpoint `path`.

    Raises:
        NoDistanceError: the student has another width and was trained without a projection.
        UserError: the checkpoint lacks the projection.
    """
    layers, width = config.distill.target_layers, config.student.encoder_embed_dim
    if width == teacher.width:
        return Layerwise(layers)
    listed = ((i, each) for i, each in enumerate(config.objectives) if isinstance(each, LayerwiseConfig))
    index, layerwise = next(listed, (None, None))
    if layerwise is None:
        raise NoDistanceError(
            f"{path}: found a student {width} wide and a teacher {teacher.width} wide without a projection between "
            "them, so their layers have no distance; train with the objective layerwise to measure one"
        )
    trained = build(layerwise, Setting(layers, width, teacher))
    stored = states.get(OBJECTIVES, {})
    own = {name.removeprefix(f"{index}."): value for name, value in stored.items() if name.startswith(f"{index}.")}
    check_weights(own, trained, path, "its own Upstream_Config", LayerwiseConfig.name)
    trained.load_state_dict(own)
    return Layerwise(layers, projection=trained.projection)


def _check_same_units(objectives: nn.Module, saved: Mapping[str, Any], path: str | Path) -> None:
    """Refuses buffers of an objective, which come from the units file, that differ from the stored ones."""
    trained = {name for name, parameter in objectives.named_parameters() if parameter.requires_grad}
    for name, value in objectives.state_dict().items():
        found: Any = saved.get(name)
        if name in trained or not is_plain(found) or found.dtype != value.dtype:
            continue  # `check_weights` refuses what is no such tensor
        if not torch.equal(found.to(value.device), value):
            raise UserError(
                f"{path}: the units file has changed since this run began ({name.partition('.')[2]} differs), expected "
                "the same file; put that file back, or start a new run with these units"
            )

"""Students by configuration and by checkpoint: `build_student` and `load_student`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from s3prl_gendistiller.config import GenDistillerModelConfig, ModelConfig, read_model_config
from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.host.checkpoint import WEIGHT_KEYS, read_checkpoint, student_kind
from s3prl_gendistiller.models.gendistiller import GenDistiller
from s3prl_gendistiller.models.student import Student


def build_student(source: str | Path | Mapping[str, Any] | ModelConfig, *, task: str = "gendistiller") -> Student:
    """An untrained student.

    Args:
        source: a model YAML, its content, or a configuration object (which decides the task by itself).
        task: "gendistiller" or "distilhubert".

    Raises:
        ConfigError: lists everything that is wrong with the configuration.
    """
    config = read_model_config(task, source) if isinstance(source, str | Path | Mapping) else source
    if isinstance(config, GenDistillerModelConfig):
        return GenDistiller(config.student, len(config.distill.target_layers))
    from s3prl_gendistiller.host.baseline import DistilHubert  # needs s3prl; GenDistiller does not

    return DistilHubert(config)


def load_student(path: str | Path) -> Student:
    """A trained student in eval mode, from a checkpoint that run_pretrain.py wrote.

    Raises:
        UserError: the file is missing, not whole, foreign, or needs code to be run.
    """
    states = read_checkpoint(path)
    kind = student_kind(states, path)
    student = build_student(states["Upstream_Config"], task=kind)
    load_weights(student, states[WEIGHT_KEYS[kind]], path)
    return student.eval()


def load_weights(student: Student, weights: Mapping[str, Any], path: str | Path) -> None:
    """Puts a checkpoint's weights into a student, all or nothing.

    Raises:
        UserError: names are missing or left over, or a shape differs.
    """
    module = weight_module(student)
    expected = module.state_dict()
    problems = [f"{name} is missing" for name in expected.keys() - weights.keys()]
    problems += [f"{name} is not part of this student" for name in weights.keys() - expected.keys()]
    problems += [
        f"{name} is {tuple(weights[name].shape)}, expected {tuple(expected[name].shape)}"
        for name in expected.keys() & weights.keys()
        if weights[name].shape != expected[name].shape
    ]
    if problems:
        shown = "; ".join(sorted(problems)[:5])
        raise UserError(
            f"{path}: {len(problems)} weights do not fit its own Upstream_Config: {shown}; use another file"
        )
    module.load_state_dict(weights)


def weight_module(student: Student) -> Any:
    """The module whose state_dict is stored: the host's own DistillerModel for the baseline, else the student."""
    return getattr(student, "distiller", student)

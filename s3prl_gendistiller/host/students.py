"""Students by configuration and by checkpoint: `build_student` and `load_student`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from s3prl_gendistiller.config import GenDistillerModelConfig, ModelConfig, read_model_config
from s3prl_gendistiller.distill.weights import check_weights, is_plain
from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.host.checkpoint import WEIGHT_KEYS, read_checkpoint, student_kind
from s3prl_gendistiller.models.gendistiller import GenDistiller
from s3prl_gendistiller.models.student import Student
from s3prl_gendistiller.schema import to_dict


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
    config, weights = read_model_config(kind, states["Upstream_Config"]), states[WEIGHT_KEYS[kind]]
    check_size(config.student, weights, path)
    student = build_student(config)
    load_weights(student, weights, path)
    return student.eval()


def load_weights(student: Student, weights: Mapping[str, Any], path: str | Path) -> None:
    """Puts a checkpoint's weights into a student, all or nothing.

    Raises:
        UserError: names are missing or left over, a shape or a type differs, or numbers are not finite.
    """
    module = weight_module(student)
    check_weights(weights, module, path, "its own Upstream_Config", "this student")
    module.load_state_dict(weights)


def check_size(student: Any, weights: Any, path: str | Path) -> None:
    """Refuses a configuration that asks for more than its weights can be, before anything of that size is made.

    Args:
        student: the configuration's section.

    Raises:
        UserError: one of its numbers is larger than every dimension of the weights.
    """
    found = weights.values() if isinstance(weights, Mapping) else ()
    largest = max((size for value in found if is_plain(value) for size in value.shape), default=0)
    for name, value in to_dict(student).items():
        numbers = [number for layer in value for number in layer] if isinstance(value, list) else [value]
        if any(isinstance(number, int) and number > max(largest, 1) for number in numbers):
            raise UserError(
                f"{path}: found {name} {value} in its Upstream_Config, expected at most {largest}, the largest "
                "dimension of its weights; use another file"
            )


def weight_module(student: Student) -> Any:
    """The module whose state_dict is stored: the host's own DistillerModel for the baseline, else the student."""
    return getattr(student, "distiller", student)

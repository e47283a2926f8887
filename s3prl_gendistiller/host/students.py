"""Students from a configuration and from a checkpoint, and the number of layers that a student generates (``-g``)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from s3prl_gendistiller import student_kinds
from s3prl_gendistiller.config import ModelConfig
from s3prl_gendistiller.distill.weights import check_weights, is_plain
from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.front_ends import unread_keys
from s3prl_gendistiller.host.checkpoint import read_checkpoint, student_kind
from s3prl_gendistiller.models.student import Student
from s3prl_gendistiller.schema import to_dict
from s3prl_gendistiller.student_kinds import DEFAULT_KIND, read_model_config


def build_student(source: str | Path | Mapping[str, Any] | ModelConfig, *, task: str = DEFAULT_KIND) -> Student:
    """An untrained student from a model YAML, its content, or a configuration object.

    `task` is the kind of student that a YAML or its content describes; a configuration object has one kind only.

    Raises:
        ConfigError: lists all problems of the configuration.
    """
    config = source if isinstance(source, ModelConfig) else read_model_config(task, source)
    student: Student = student_kinds.build(config)
    return student


def load_student(path: str | Path) -> Student:
    """A trained student in eval mode, from a checkpoint that run_pretrain.py wrote.

    Raises:
        UserError: the file is missing or not whole, holds no student of this package, or would run code.
    """
    states = read_checkpoint(path)
    kind = student_kind(states, path)
    config, weights = read_model_config(kind.name, states["Upstream_Config"]), states[kind.weights]
    check_size(config.student, weights, path)
    student = build_student(config)
    load_weights(student, weights, path)
    return student.eval()


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


def load_weights(student: Student, weights: Mapping[str, Any], path: str | Path) -> None:
    """Puts a checkpoint's weights into a student; after an error, the student is unchanged.

    UserError: names are missing or left over, a shape or a type differs, or numbers are not finite.
    """
    module = student.stored_module
    check_weights(weights, module, path, "its own Upstream_Config", "this student")
    module.load_state_dict(weights)


def check_size(student: Any, weights: Any, path: str | Path) -> None:
    """Refuses a number in the section `student` that is larger than every dimension of the weights, with a UserError,
    before a network of these sizes is built.
    """
    found = weights.values() if isinstance(weights, Mapping) else ()
    largest = max((size for value in found if is_plain(value) for size in value.shape), default=0)
    unread = unread_keys(student.front_end)
    for name, value in to_dict(student).items():
        if name in unread:
            continue
        if any(isinstance(number, int) and number > max(largest, 1) for number in _numbers(value)):
            raise UserError(
                f"{path}: found {name} {value} in its Upstream_Config, expected at most {largest}, the largest "
                "dimension of its weights; use another file"
            )


def _numbers(value: Any) -> Iterator[Any]:
    """A value of a section and, in place of a list, everything in it."""
    if isinstance(value, list):
        for item in value:
            yield from _numbers(item)
    else:
        yield value

"""Students from a configuration and from a checkpoint, and the number of layers that a student generates (``-g``)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file

from s3prl_gendistiller import student_kinds
from s3prl_gendistiller.config import ModelConfig
from s3prl_gendistiller.distill.weights import check_weights, is_plain
from s3prl_gendistiller.documents import read_json
from s3prl_gendistiller.errors import ConfigError, UserError
from s3prl_gendistiller.front_ends import unread_keys
from s3prl_gendistiller.host.checkpoint import newest_checkpoint, read_checkpoint, student_kind
from s3prl_gendistiller.models.student import Student
from s3prl_gendistiller.models.upstream import CONFIG, GRAPH, WEIGHTS
from s3prl_gendistiller.schema import to_dict
from s3prl_gendistiller.shipped import existing_or_shipped
from s3prl_gendistiller.student_kinds import DEFAULT_KIND, STUDENT_KINDS, StudentKind, read_model_config


def build_student(source: str | Path | Mapping[str, Any] | ModelConfig, *, task: str = DEFAULT_KIND) -> Student:
    """An untrained student from a model YAML, its content, or a configuration object.

    `task` is the kind of student that a YAML or its content describes; a configuration object has one kind only.

    Raises:
        ConfigError: lists all problems of the configuration.
    """
    config = source if isinstance(source, ModelConfig) else read_model_config(task, source)
    student: Student = student_kinds.build(config)
    return student


def load_student(path: str | Path, *, whole: bool = False) -> Student:
    """A trained student in eval mode.

    Args:
        path: a checkpoint that run_pretrain.py wrote; the folder of its run, of which the newest whole checkpoint is
            taken; or the folder of an exported student (``gendistiller export``: transformers, safetensors or hub). A
            folder that ships with this package is found by its name from anywhere.
        whole: keep the parts of a checkpoint's student that only training needs, to compare it with its teacher.

    Raises:
        UserError: the place is missing or not whole, holds no student of this package, or would run code.
    """
    path = student_place(existing_or_shipped(path))
    if path.is_dir():
        return _load_exported(path)
    states = read_checkpoint(path)
    kind = student_kind(states, path)
    config, weights = read_model_config(kind.name, states["Upstream_Config"]), states[kind.weights]
    check_size(config.student, weights, path)
    student = build_student(config)
    load_weights(student, weights, path)
    return student.eval() if whole else student.for_use().eval()


@dataclass(frozen=True)
class StudentSettings:
    """The settings of a trained student; `steps` is the number of layers that an exported one generates, None: all."""

    kind: StudentKind
    config: ModelConfig
    steps: int | None = None


def read_settings(path: str | Path) -> StudentSettings:
    """The settings of the student at a place that `load_student` takes; UserError as `load_student`."""
    path = student_place(existing_or_shipped(path))
    if path.is_dir():
        return _read_exported(path)
    states = read_checkpoint(path, mmap=True)
    kind = student_kind(states, path)
    return StudentSettings(kind, read_model_config(kind.name, states["Upstream_Config"]))


def is_exported(folder: str | Path) -> bool:
    """Whether a folder holds an exported student, by its configuration; a transformers folder has another one."""
    stated = Path(folder) / CONFIG
    content = read_json(stated) if stated.is_file() else None
    return isinstance(content, Mapping) and {"task", "config"} <= content.keys()


def holds_onnx(folder: str | Path) -> bool:
    """Whether a folder holds the graph of a student, which `inference.onnx_student` reads."""
    return (Path(folder) / GRAPH).is_file()


def student_place(path: Path) -> Path:
    """The newest whole checkpoint in the folder of a run; a file or an exported folder stays as it is.

    UserError: a folder is neither.
    """
    if not path.is_dir() or (path / CONFIG).is_file():
        return path
    newest = newest_checkpoint(path)
    if newest is None:
        raise UserError(
            f"{path}: found a folder without a whole states-*.ckpt and without {CONFIG}, expected a checkpoint of "
            "run_pretrain.py, the folder of a run, or an exported student; name another place"
        )
    return newest


def _load_exported(folder: Path) -> Student:
    """The student of a folder that `export.hub_folder` wrote, which generates as many layers as the folder states."""
    settings, file = _read_exported(folder), folder / WEIGHTS
    if holds_onnx(folder) and not file.exists():
        raise UserError(
            f"{folder}: found an ONNX graph, expected {WEIGHTS}; `gendistiller extract -k` and "
            "inference.onnx_student.OnnxStudent read it, or export its checkpoint once more as safetensors"
        )
    try:
        weights = _without_heads(load_file(file))
    except (OSError, SafetensorError) as error:
        raise UserError(f"{file}: cannot be read ({error}), expected the weights; write the folder again") from error
    check_size(settings.config.student, weights, file)
    student = build_student(settings.config).for_use()
    load_weights(student, weights, file)
    student.default_steps = settings.steps
    return student.eval()


def _without_heads(weights: dict[str, Any]) -> dict[str, Any]:
    """The student's weights of a folder that transformers reads, where a head may stand beside them."""
    for prefix in ("student.", "gendistiller.student."):
        own = {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}
        if own:
            return own
    return weights


def _read_exported(folder: Path) -> StudentSettings:
    stated = folder / CONFIG
    content = read_json(stated)
    found = content if isinstance(content, Mapping) else {}
    task, section, steps = found.get("task"), found.get("config"), found.get("steps")
    if not isinstance(task, str) or not isinstance(section, Mapping):
        raise UserError(
            f"{folder}: found the {CONFIG} of another kind of model, expected that of an exported student; a teacher "
            "is read with transformers.AutoModel.from_pretrained"
        )
    if task not in STUDENT_KINDS:
        raise UserError(
            f"{stated}: found the student {task!r}, expected {' or '.join(STUDENT_KINDS)}; upgrade s3prl-gendistiller"
        )
    try:
        config = read_model_config(task, section)
    except ConfigError as error:
        raise ConfigError(str(stated), error.problems) from error
    layers = len(config.distill.target_layers)
    if steps is not None and not (type(steps) is int and 1 <= steps <= layers):
        raise UserError(f"{stated}: steps: found {steps!r}, expected 1..{layers}; write the folder again")
    return StudentSettings(STUDENT_KINDS[task], config, steps)


def generation_text(steps: int) -> str:
    """Text that ``-g`` takes in place of a file, so that a stored run needs no file to be evaluated."""
    return f"steps: {steps}"


def check_steps(steps: int | None, place: str | Path) -> None:
    """UserError if the student at a place that `load_student` takes cannot generate `steps` layers (None: all)."""
    if steps is None:
        return
    settings = read_settings(place)
    if not settings.kind.stepwise:
        raise UserError(f"steps: found {steps} for {place}, which predicts all its layers at once; leave it out")
    layers = settings.config.distill.target_layers
    if not 1 <= steps <= len(layers):
        raise UserError(
            f"steps: found {steps}, expected 1..{len(layers)}: {place} generates the teacher's layers "
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

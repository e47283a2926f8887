"""The models that `gendistiller macs` counts: students at any number of steps, and any upstream of s3prl."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from s3prl_gendistiller import student_kinds
from s3prl_gendistiller.config import ModelConfig
from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.host.layers import load_upstream
from s3prl_gendistiller.host.students import build_student, load_student, read_settings
from s3prl_gendistiller.host.teacher_sizes import compare
from s3prl_gendistiller.models.student import Student
from s3prl_gendistiller.models.upstream import upstream_output
from s3prl_gendistiller.schema import merge_layers, yaml_layers
from s3prl_gendistiller.shipped import existing_or_shipped
from s3prl_gendistiller.superb.models import BenchmarkedModel

WITHOUT_HEADS = "without heads"
ALL = "all"


@dataclass(frozen=True)
class CountedModel:
    """One row of the table: a model at one number of steps.

    Attributes:
        steps: number of layers that the model generates; None for a model that generates none.
        parameters: number of loaded parameters, used or not, as the leaderboard counts them.
        expert: the model in eval mode, called with a list of waveforms (S,).
    """

    name: str
    steps: int | None
    parameters: int
    expert: nn.Module


class AsUpstream(nn.Module):
    """A student called as s3prl calls an upstream; it executes the operations that its upstream in s3prl executes.

    Args:
        steps: number of layers that a GenDistiller generates.
        heads: whether a DistilHuBERT runs its prediction heads, as s3prl does although the last layer is the feature.
    """

    def __init__(self, student: Student, *, steps: int | None = None, heads: bool = True) -> None:
        super().__init__()
        self.student, self.steps, self.heads = student, steps, heads

    def forward(self, wavs: Sequence[Tensor]) -> object:
        if not self.heads:
            return self.student.without_heads(pad_sequence(list(wavs), batch_first=True))
        return upstream_output(self.student, wavs, self.steps)


@dataclass(frozen=True)
class ModelSource:
    """A model that is not loaded yet.

    Attributes:
        load: function that returns one of our students, or an upstream of s3prl.
        steps: number of generated layers of each row of a GenDistiller; empty for other models.
        remarks: lines on an untrained student and its teacher, for the user.
    """

    name: str
    load: Callable[[], nn.Module]
    steps: tuple[int, ...] = ()
    remarks: tuple[str, ...] = ()


def model_sources(
    models: Sequence[BenchmarkedModel], configs: Sequence[str], steps: Sequence[int | str]
) -> list[ModelSource]:
    """The models to count.

    Args:
        models: the result of `find_models`; a model with a number of steps keeps that number.
        configs: model YAML files, as ``NAME=FILE`` or ``FILE``.
        steps: numbers of layers, or "all" for each number from 1; empty for all layers at once.

    Raises:
        UserError: lists names that are taken, files that are no configurations or do not fit their teacher, and
            students with fewer layers.
    """
    found: list[ModelSource] = []
    problems: list[str] = []
    for model in models:
        if model.checkpoint is None or model.upstream not in student_kinds.student_upstreams():
            found.append(ModelSource(model.name, partial(load_upstream, model.upstream, model.checkpoint)))
            continue
        settings = read_settings(model.checkpoint)
        asked = steps if model.steps is None else [model.steps]
        stated = [] if settings.steps is None else [settings.steps]
        chosen = _chosen_steps(model.name, settings.config, asked or stated, problems)
        found.append(ModelSource(model.name, partial(load_student, model.checkpoint), chosen))
    for text in configs:
        name, equals, given = text.partition("=")
        path = existing_or_shipped(given if equals else text)
        name = name if equals else path.stem.replace("config_model", path.parent.name)
        try:
            config = student_kinds.read_model_config(model_task(path), path)
            remarks = tuple(compare(config, path))
        except UserError as error:
            problems.append(str(error))
            continue
        chosen = _chosen_steps(name, config, steps, problems)
        found.append(ModelSource(name, partial(_untrained, config), chosen, remarks))
    names = [source.name for source in found]
    taken = [name for name in dict.fromkeys(names) if names.count(name) > 1]
    problems += [f"{name}: the name is taken; give each model its own, as NAME=PATH" for name in taken]
    if problems:
        raise UserError("\n".join(problems))
    return found


def _untrained(config: ModelConfig) -> Student:
    return build_student(config).for_use()


def _chosen_steps(name: str, config: ModelConfig, steps: Sequence[int | str], problems: list[str]) -> tuple[int, ...]:
    if not student_kinds.kind_of(config).stepwise:
        return ()
    layers = len(config.distill.target_layers)
    if ALL in steps:
        return tuple(range(1, layers + 1))
    chosen = tuple(int(step) for step in steps) or (layers,)
    if beyond := [str(step) for step in chosen if not 1 <= step <= layers]:
        problems.append(f"--steps: found {', '.join(beyond)}, expected 1..{layers}, what {name} generates")
    return chosen


def model_task(path: Path) -> str:
    """The kind of student that a model YAML describes, by the recipe that it is or is based on, else by its keys."""
    layers = yaml_layers(path)
    recipes = [file.parent.name for file, _ in layers if file.parent.name in student_kinds.STUDENT_KINDS]
    if recipes:
        return recipes[0]
    student = merge_layers(content for _, content in layers).get("student")
    return student_kinds.kind_of_settings(student if isinstance(student, dict) else {}).name


def counted_models(source: ModelSource) -> Iterator[CountedModel]:
    """The rows of one model: one for each number of steps; a baseline with and without its prediction heads."""
    model: Any = source.load().eval()
    parameters = sum(parameter.numel() for parameter in model.parameters())
    if isinstance(model, Student) and model.heads is not None:
        heads = sum(parameter.numel() for parameter in model.heads.parameters())
        yield CountedModel(source.name, None, parameters, AsUpstream(model))
        yield CountedModel(f"{source.name}, {WITHOUT_HEADS}", None, parameters - heads, AsUpstream(model, heads=False))
    elif source.steps:
        for step in source.steps:
            yield CountedModel(source.name, step, parameters, AsUpstream(model, steps=step))
    else:
        yield CountedModel(source.name, None, parameters, model)

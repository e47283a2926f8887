"""Kinds of students: one row each, with everything in which one kind differs from another.

A new kind is one module with its network, a subclass of `config.ModelConfig`, and one row of `STUDENT_KINDS`. Functions
are named by text and imported when they are called: reading a configuration needs neither torch nor s3prl.
"""

from __future__ import annotations

import dataclasses
import importlib
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from s3prl_gendistiller.config import ModelConfig
from s3prl_gendistiller.config_distilhubert import DistilHubertModelConfig
from s3prl_gendistiller.config_gendistiller import GenDistillerModelConfig
from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.front_ends import FRONT_ENDS, STOCK
from s3prl_gendistiller.schema import from_dict, read_layered_yaml

OWN_UPSTREAM = "gendistiller_local"
"""Our entry of s3prl.hub (`host.hubconf`), which reads every kind of student."""
OWN_UPSTREAMS = (OWN_UPSTREAM, "gendistiller_url")


@dataclass(frozen=True)
class StudentKind:
    """One kind of student. Functions are ``module:function``; a module with a leading dot is one of this package.

    Attributes:
        name: the pretraining task, ``-u`` of run_pretrain.py. It has no underscore, because s3prl takes NAME_x for a
            variant of the task NAME.
        build: ModelConfig -> models.student.Student.
        warm_start: copies weights of a teacher, as `distill.warm_start.warm_start`; its keywords are those of
            `WarmStartConfig.options`.
        weights: the key of the student's weights in a checkpoint.
        upstream: the entry of s3prl.hub that reads the student's checkpoints.
        unknown_to_upstream: values of keys of the section `student` that `upstream` cannot read, where it is s3prl's
            own.
        stepwise: the student generates one layer after another and can stop after any of them.
        heads: the predictions are heads on the student's last layer, which an upstream offers as "paper".
        packages: packages that the student needs beside torch, for requirements.txt.
    """

    name: str
    config: type[ModelConfig]
    build: str
    warm_start: str
    weights: str
    upstream: str = OWN_UPSTREAM
    unknown_to_upstream: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    stepwise: bool = False
    heads: bool = False
    packages: tuple[str, ...] = ()

    def upstream_for(self, student: Mapping[str, Any]) -> str:
        """The entry of s3prl.hub that reads a student with these settings of the section `student`."""
        unknown = any(student.get(key) in values for key, values in self.unknown_to_upstream.items())
        return OWN_UPSTREAM if unknown else self.upstream


STUDENT_KINDS: dict[str, StudentKind] = {
    "gendistiller": StudentKind(
        "gendistiller",
        GenDistillerModelConfig,
        build=".models.gendistiller:build",
        warm_start=".distill.warm_start:warm_start",
        weights="GenDistiller",
        stepwise=True,
    ),
    "distilhubert": StudentKind(
        "distilhubert",
        DistilHubertModelConfig,
        build=".host.baseline:DistilHubert",
        warm_start=".distill.warm_start:warm_start_distiller",
        weights="Distiller",
        upstream="distiller_local",
        unknown_to_upstream={
            "out_layer_type": ("linear",),
            "feature_norm": (True,),
            "front_end": tuple(name for name in FRONT_ENDS if name != STOCK),
        },
        heads=True,
        packages=("s3prl",),
    ),
}
"""Every kind of student by its name, the default first."""
DEFAULT_KIND = next(iter(STUDENT_KINDS))


def student_upstreams() -> set[str]:
    """The entries of s3prl.hub that read students."""
    return {OWN_UPSTREAM, *(kind.upstream for kind in STUDENT_KINDS.values())}


def kind_of(config: ModelConfig) -> StudentKind:
    """The kind of student that a model configuration describes."""
    for kind in STUDENT_KINDS.values():
        if kind.config is type(config):
            return kind
    raise LookupError(f"{type(config).__name__}: no row of student_kinds.STUDENT_KINDS has this class; add one")


def kind_of_weights(keys: Iterable[str]) -> StudentKind | None:
    """The kind of student whose weights a checkpoint with these keys holds; None where it holds no student."""
    found = set(keys)
    return next((kind for kind in STUDENT_KINDS.values() if kind.weights in found), None)


def kind_of_settings(student: Mapping[str, Any]) -> StudentKind:
    """The kind of student that alone has one of the keys of a section `student`; the default where no key decides."""
    sections = {name: typing.get_type_hints(kind.config)["student"] for name, kind in STUDENT_KINDS.items()}
    keys = {name: {key.name for key in dataclasses.fields(section)} for name, section in sections.items()}
    for name, kind in reversed(STUDENT_KINDS.items()):
        others = set().union(*(found for other, found in keys.items() if other != name))
        if student.keys() & (keys[name] - others):
            return kind
    return STUDENT_KINDS[DEFAULT_KIND]


def build(config: ModelConfig) -> Any:
    """The untrained `models.student.Student` of a configuration."""
    return function(kind_of(config).build)(config)


def function(name: str) -> Callable[..., Any]:
    """The function that a row names as ``module:function``."""
    module, _, attribute = name.partition(":")
    found: Callable[..., Any] = getattr(importlib.import_module(module, __package__), attribute)
    return found


def read_model_config(kind: str, source: str | Path | Mapping[str, Any]) -> ModelConfig:
    """The model configuration of a kind of student from a YAML path or a dictionary, checked by `from_dict`."""
    named = f"{kind} configuration" if isinstance(source, Mapping) else str(source)
    content = source if isinstance(source, Mapping) else read_layered_yaml(source)
    if "runner" in content and "teacher" not in content:
        raise UserError(f"{named}: found a runner YAML, expected a model YAML, with the sections teacher and student")
    return from_dict(STUDENT_KINDS[kind].config, content, named)

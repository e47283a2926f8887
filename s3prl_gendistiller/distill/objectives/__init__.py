"""Objectives, which a student is trained to match: one module each, with one row of `config_objectives.OBJECTIVES`.

An objective is a torch module called as ``objective(teacher, student, frame_mask) -> {term: (sum, count)}`` with
teacher (B, L, T, D_t), student (B, L, T, D_s) and frame_mask (B, T). Its `terms` hold the names of the terms and the
weight of each mean in the loss; weight 0 is for terms that are only reported. An objective with a `source_layer` gets
that layer of the teacher, (B, 1, T, D_t), in place of the target layers. The task divides sums by counts once, so
that each batch and process counts by its number of frames.

Its Python module defines ``build(config, setting) -> nn.Module`` and, if its configuration names files,
``check_files(config)``, which raises a UserError before a run begins.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType

from torch import nn

from s3prl_gendistiller.config_objectives import OBJECTIVES, ObjectiveConfig
from s3prl_gendistiller.distill.teacher import Teacher
from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.installed_objectives import broken, packages

_PACKAGE = __name__.partition(".")[0]


@dataclass(frozen=True)
class Setting:
    """Values that `build` needs beside the configuration of an objective."""

    target_layers: Sequence[int]  # numbers of the teacher's layers
    width: int | None = None  # D_s, which objectives with a head or a projection on the student need
    teacher: Teacher | None = None  # None where no teacher is at hand, as in tests

    @property
    def teacher_width(self) -> int | None:
        """D_t; the student's width where no teacher is at hand."""
        return self.width if self.teacher is None else self.teacher.width


def build_objectives(configs: Sequence[ObjectiveConfig], setting: Setting) -> nn.ModuleList:
    """The objectives of a configuration, in its order; a UserError if the files of one do not fit or cannot be read."""
    return nn.ModuleList(_built(config, setting) for config in configs)


def check_files(configs: Sequence[ObjectiveConfig]) -> None:
    """Reads the files that objectives name; raises a UserError if one of them cannot be read."""
    for config in configs:
        if config.files:
            _module(config).check_files(config)


def _built(config: ObjectiveConfig, setting: Setting) -> nn.Module:
    built = _module(config).build(config, setting)
    if not isinstance(built, nn.Module) or not isinstance(getattr(built, "terms", None), dict):
        found = "no dictionary `terms` in it" if isinstance(built, nn.Module) else type(built).__name__
        owner = packages(config.name) or "this package"
        raise UserError(
            f"found the objective {config.name} of {owner}, whose build gives {found}; expected a torch module "
            "with the weight of each of its `terms`; correct that package"
        )
    return built


def _module(config: ObjectiveConfig) -> ModuleType:
    if OBJECTIVES.get(config.name) is not type(config):
        raise LookupError(f"{type(config).__name__}: no row of config_objectives.OBJECTIVES; add {config.name!r} there")
    if not packages(config.name):
        return importlib.import_module(config.module, _PACKAGE)
    try:
        module = importlib.import_module(config.module, _PACKAGE)
        for needed in ("build", *(("check_files",) if config.files else ())):
            getattr(module, needed)
    except Exception as error:  # importing a module of others can fail in any way
        raise broken(config.name, f"its module {config.module} does not work", error) from error
    return module

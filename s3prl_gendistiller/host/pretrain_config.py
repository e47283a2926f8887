"""The runner configuration of run_pretrain.py: as the user gives it, and as s3prl's Runner reads it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from s3prl_gendistiller.config_optimizer import TrainedConfig
from s3prl_gendistiller.config_runner import RunnerConfig, StockRunnerSectionConfig
from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.schema import checked, from_dict, to_dict
from s3prl_gendistiller.student_kinds import STUDENT_KINDS


@dataclass(frozen=True)
class StockExpertConfig:
    datarc: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class StockConfig(TrainedConfig):
    """The runner configuration of a pretraining task of s3prl's own, whose data keys are not known here."""

    runner: StockRunnerSectionConfig
    pretrain_expert: StockExpertConfig


def runner_for_host(task: str, content: Mapping[str, Any], source: str) -> dict[str, Any]:
    """The runner configuration for s3prl's Runner: values converted, and defaults filled in for the keys that it reads.

    `task` is the value of ``-u``, `content` a runner YAML with its overrides applied, `source` its origin, for the
    message. UserError: the content is a model YAML; ConfigError: lists all problems.
    """
    if "student" in content or "teacher" in content:
        raise UserError(f"{source}: a model YAML, which -g takes; expected a runner YAML, with runner and optimizer")
    if task not in STUDENT_KINDS:
        return checked(StockConfig, content, source)
    config = from_dict(RunnerConfig, content, source)
    found = checked(RunnerConfig, content, source)
    return found | {
        "runner": to_dict(config.runner),
        "optimizer": {**found["optimizer"], "lr": config.optimizer.lr},
        "pretrain_expert": to_dict(config.pretrain_expert),
    }

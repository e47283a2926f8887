"""The runner configuration of run_pretrain.py: as it is given, and as s3prl's Runner reads it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from s3prl_gendistiller.config_optimizer import OPTIMIZERS, SCHEDULERS, schedule_problems
from s3prl_gendistiller.config_runner import RunnerConfig, steps_problems
from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.schema import checked, from_dict, key, to_dict
from s3prl_gendistiller.student_kinds import STUDENT_KINDS


@dataclass(frozen=True)
class StockRunnerConfig:
    """As `config.RunnerSectionConfig`; s3prl's own tasks have s3prl's own settings."""

    total_steps: int
    log_step: int = key(low=1)
    save_step: int = key(low=1)
    max_keep: int = key(low=1)
    gradient_clipping: float = key(above=0.0)
    gradient_accumulate_steps: int = key(low=1)
    n_epochs: int = key()
    fp16: bool = False

    def problems(self) -> Iterator[str]:
        yield from steps_problems(self.total_steps, self.n_epochs)


@dataclass(frozen=True)
class StockExpertConfig:
    datarc: dict


@dataclass(frozen=True)
class StockConfig:
    """Of a pretraining task of s3prl's own, whose data keys are not known here."""

    runner: StockRunnerConfig
    pretrain_expert: StockExpertConfig
    optimizer: Any = key(variants=OPTIMIZERS)
    scheduler: Any = key(None, variants=SCHEDULERS)

    def problems(self) -> Iterator[str]:
        yield from schedule_problems(self.optimizer, self.scheduler, self.runner.total_steps)


def runner_for_host(task: str, content: Mapping[str, Any], source: str) -> dict[str, Any]:
    """What s3prl's Runner may be handed: values as they are read, with the keys that it reads and that have a default.

    Args:
        task: what ``-u`` names.
        content: a runner YAML, its overrides applied.
        source: where it comes from, for the message.

    Raises:
        UserError: it is a model YAML.
        ConfigError: lists everything that is wrong.
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

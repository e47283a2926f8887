"""The sections `optimizer` and `scheduler` of a runner YAML: names and keys that s3prl's builders accept.

s3prl evaluates the text ``get_NAME`` as Python, where NAME comes from the YAML. `OPTIMIZERS` and `SCHEDULERS` hold all
names that s3prl has. Several of s3prl's builders drop unknown keys without a message, so the dataclasses list only keys
that the builder of that name uses.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from s3prl_gendistiller.schema import Variants, key

BETAS = (0.9, 0.999)


@dataclass(frozen=True)
class AdamConfig:
    """Adam or AdamW of s3prl, whose only setting is the learning rate."""

    name: str = key(about="an optimiser of s3prl")
    lr: float = key(2e-4, above=0.0, about="highest learning rate")


@dataclass(frozen=True)
class BertAdamConfig(AdamConfig):
    """The learning rate rises over a share of `runner.total_steps` and falls to zero at its end."""

    warmup_proportion: float = key(
        0.07, low=0.0, below=1.0, about="share of total_steps in which the learning rate rises"
    )


@dataclass(frozen=True)
class ScheduledConfig(BertAdamConfig):
    """AdamW or Lamb with a built-in schedule."""

    schedule: str | None = key(
        "warmup_linear",
        choices=("warmup_linear", "warmup_constant", "warmup_cosine", "none"),
        about="course of the learning rate after its rise",
    )
    betas: tuple[float, float] = key(BETAS, about="decay of the means of gradient and squared gradient")
    eps: float = key(1e-8, low=0.0, about="added to the divisor")
    weight_decay: float = key(0.0, low=0.0, about="ignored: s3prl sets 0.01, and 0 for biases and norms")  # `IGNORED`

    def problems(self) -> Iterator[str]:
        yield from _shares("betas", self.betas)


@dataclass(frozen=True)
class _TorchConfig:
    """Settings that all optimisers of torch share."""

    name: str = key(about="an optimiser of s3prl")
    torch_optim_name: str = key(about="an optimiser of torch.optim")
    lr: float = key(above=0.0, about="learning rate")
    weight_decay: float = key(0.0, low=0.0, about="factor of the weights that is added to the gradient")
    foreach: bool | None = key(None, about="torch: update all weights in one call; null: torch decides")
    maximize: bool = key(False, about="torch: raise the loss in place of lowering it")
    differentiable: bool = key(False, about="torch: gradients flow through the update")

    def problems(self) -> Iterator[str]:
        for name in ("betas", "rho", "alpha", "momentum"):
            value = getattr(self, name, ())
            yield from _shares(name, value if isinstance(value, tuple) else (value,))


_OPTIONS: dict[str, tuple[Any, Any]] = {
    "betas": (tuple[float, float], key(BETAS, about="decay of the means of gradient and squared gradient")),
    "eps": (float, key(1e-8, low=0.0, about="added to the divisor")),
    "amsgrad": (bool, key(False, about="divide by the largest mean of squared gradients so far")),
    "capturable": (bool, key(False, about="torch: the update can be part of a CUDA graph")),
    "fused": (bool | None, key(None, about="torch: one kernel for the whole update; null: torch decides")),
    "decoupled_weight_decay": (bool, key(False, about="decay the weights apart from the gradient, as AdamW")),
    "momentum_decay": (float, key(4e-3, low=0.0, about="decay of the momentum")),
    "momentum": (float, key(0.0, low=0.0, about="share of the last update in the present one")),
    "dampening": (float, key(0.0, about="share of the gradient that the momentum leaves out")),
    "nesterov": (bool, key(False, about="Nesterov's momentum")),
    "alpha": (float, key(0.99, about="decay of the mean")),
    "centered": (bool, key(False, about="divide by the gradient's variance in place of its square")),
    "rho": (float, key(0.9, about="decay of the mean of squared gradients")),
    "lr_decay": (float, key(0.0, low=0.0, about="decay of the learning rate with each step")),
    "initial_accumulator_value": (float, key(0.0, low=0.0, about="start of the sum of squared gradients")),
    "lambd": (float, key(1e-4, low=0.0, about="decay of the weights' mean")),
    "t0": (float, key(1e6, low=0.0, about="step at which averaging of the weights begins")),
}
_TORCH = {
    "Adam": ("betas", "eps", "amsgrad", "capturable", "fused"),
    "AdamW": ("betas", "eps", "amsgrad", "capturable", "fused"),
    "NAdam": ("betas", "eps", "momentum_decay", "decoupled_weight_decay", "capturable"),
    "RAdam": ("betas", "eps", "decoupled_weight_decay", "capturable"),
    "Adamax": ("betas", "eps", "capturable"),
    "SGD": ("momentum", "dampening", "nesterov", "fused"),
    "RMSprop": ("alpha", "eps", "momentum", "centered", "capturable"),
    "Adagrad": ("eps", "lr_decay", "initial_accumulator_value", "fused"),
    "Adadelta": ("rho", "eps", "capturable"),
    "ASGD": ("lambd", "alpha", "t0", "capturable"),
}


def _torch_config(name: str) -> type:
    fields = [(option, *_OPTIONS[option]) for option in _TORCH[name]]
    return dataclasses.make_dataclass(f"{name}Config", fields, bases=(_TorchConfig,), frozen=True)


def _shares(name: str, values: tuple[float, ...]) -> Iterator[str]:
    if not all(0.0 <= value < 1.0 for value in values):
        found = values[0] if len(values) == 1 else list(values)
        yield f"{name}: found {found}, expected from 0 to less than 1"


_OPTIMIZERS: dict[str, type | Variants] = {
    "AdamW_with_schedule": ScheduledConfig,
    "Lamb_with_schedule": ScheduledConfig,
    "BertAdam_with_schedule": BertAdamConfig,
    "Adam": AdamConfig,
    "AdamW": AdamConfig,
    "TorchOptim": Variants(by="torch_optim_name", of={name: _torch_config(name) for name in _TORCH}),
}
OPTIMIZERS = Variants(by="name", of=_OPTIMIZERS)
IGNORED = {name: ("weight_decay",) for name in ("AdamW_with_schedule", "Lamb_with_schedule")}
"""By optimiser, keys without effect: s3prl's parameter groups set weight_decay to 0.01 or 0 instead."""


@dataclass(frozen=True)
class WarmupConfig:
    """A schedule with a warm-up as its only setting."""

    name: str = key(about="a schedule of s3prl")
    num_warmup_steps: int = key(low=0, about="steps in which the learning rate rises")


@dataclass(frozen=True)
class PowerConfig(WarmupConfig):
    """A schedule that divides by the number of warm-up steps."""

    num_warmup_steps: int = key(low=1)


@dataclass(frozen=True)
class CosineConfig(WarmupConfig):
    num_cycles: float = key(0.5, above=0.0, about="waves of the cosine")


@dataclass(frozen=True)
class RestartsConfig(WarmupConfig):
    num_cycles: int = key(1, low=1, about="restarts of the cosine")


@dataclass(frozen=True)
class PolynomialConfig(WarmupConfig):
    lr_end: float = key(1e-7, low=0.0, about="learning rate at the end")
    power: float = key(1.0, above=0.0, about="power of the fall; 1 is a line")


_SCHEDULERS: dict[str, type | Variants] = {
    "linear_schedule_with_warmup": WarmupConfig,
    "constant_decay_schedule_with_warmup": WarmupConfig,
    "sqrt_decay_schedule_with_warmup": PowerConfig,
    "noam_decay_schedule_with_warmup": PowerConfig,
    "cosine_schedule_with_warmup": CosineConfig,
    "cosine_with_hard_restarts_schedule_with_warmup": RestartsConfig,
    "polynomial_decay_schedule_with_warmup": PolynomialConfig,
}
SCHEDULERS = Variants(by="name", of=_SCHEDULERS)


@dataclass(frozen=True, kw_only=True)
class OptimizedConfig:
    """The sections `optimizer` and `scheduler`."""

    optimizer: Any = key(variants=OPTIMIZERS, about="how the weights are updated")
    scheduler: Any = key(
        None, variants=SCHEDULERS, about="course of the learning rate, for an optimiser without one of its own"
    )


@dataclass(frozen=True, kw_only=True)
class TrainedConfig(OptimizedConfig):
    """Sections of every configuration of a training run."""

    runner: Any = key(about="length, log and checkpoints of the run")

    def problems(self) -> Iterator[str]:
        decay, total_steps = self.scheduler, self.runner.total_steps
        if not isinstance(decay, PolynomialConfig):
            return
        if decay.lr_end >= self.optimizer.lr:
            yield f"scheduler.lr_end: found {decay.lr_end}, expected less than optimizer.lr {self.optimizer.lr}"
        if decay.num_warmup_steps >= total_steps:
            found = f"found {decay.num_warmup_steps}"
            yield f"scheduler.num_warmup_steps: {found}, expected less than runner.total_steps {total_steps}"

"""The sections that s3prl evaluates a name of: every name and key that its functions take, and nothing else."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, fields
from typing import Any

import pytest
import torch

from s3prl_gendistiller.config_optimizer import OPTIMIZERS, SCHEDULERS
from s3prl_gendistiller.errors import ConfigError
from s3prl_gendistiller.host import compat
from s3prl_gendistiller.schema import Variants, checked, key


@dataclass(frozen=True)
class Sections:
    optimizer: Any = key(variants=OPTIMIZERS)
    scheduler: Any = key(None, variants=SCHEDULERS)


ADAM = {"name": "TorchOptim", "torch_optim_name": "Adam", "lr": 1e-3}
EVIL = "__import__('os').system('id')"


@pytest.mark.parametrize(
    ("optimizer", "expected"),
    [
        (
            {"name": EVIL},
            "optimizer.name: found \"__import__('os').system('id')\", expected one of AdamW_with_schedule",
        ),
        ({"name": "grouped_parameters"}, "optimizer.name: found 'grouped_parameters', expected one of"),
        ({"name": "adamw"}, "did you mean AdamW?"),
        ({"lr": 1}, "optimizer.name: missing, expected one of"),
        ({"name": ["Adam"]}, "optimizer.name: found ['Adam']"),
        (5, "optimizer: found 5 (a whole number), expected a section of keys"),
        (None, "optimizer: found null, expected a section of keys"),
        ({"name": "AdamW_with_schedule", "lrr": 1e-3}, "optimizer.lrr: unknown key; did you mean lr?"),
        (
            {"name": "AdamW", "lr": 1e-3, "weight_decay": 0.1},
            "optimizer.weight_decay: unknown key; known here: name, lr",
        ),
        ({"name": "AdamW_with_schedule", "lr": "fast"}, "optimizer.lr: found 'fast' (text), expected a number"),
        ({"name": "AdamW_with_schedule", "lr": "nan"}, "optimizer.lr: found nan, expected a finite number"),
        ({"name": "AdamW_with_schedule", "lr": "inf"}, "optimizer.lr: found inf, expected a finite number"),
        ({"name": "AdamW_with_schedule", "lr": -1e-3}, "optimizer.lr: found -0.001, expected more than 0"),
        ({"name": "AdamW_with_schedule", "warmup_proportion": 1}, "found 1.0, expected less than 1"),
        ({"name": "AdamW_with_schedule", "betas": [0.9]}, "optimizer.betas: found 1 entries, expected 2"),
        ({"name": "AdamW_with_schedule", "betas": [0.9, 1]}, "optimizer.betas: found [0.9, 1.0], expected from 0"),
        ({**ADAM, "torch_optim_name": EVIL}, "optimizer.torch_optim_name: found"),
        ({**ADAM, "torch_optim_name": "LBFGS"}, "optimizer.torch_optim_name: found 'LBFGS', expected one of Adam,"),
        ({**ADAM, "momentum": 0.9}, "optimizer.momentum: unknown key"),
        ({**ADAM, "lr": None}, "optimizer.lr: found null, expected a number"),
        ({"name": "TorchOptim", "lr": 1e-3}, "optimizer.torch_optim_name: missing, expected one of Adam"),
    ],
)
def test_what_s3prl_could_not_build_or_would_evaluate_is_refused(optimizer: object, expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        checked(Sections, {"optimizer": optimizer}, "r.yaml")
    assert expected in str(caught.value)


@pytest.mark.parametrize(
    ("scheduler", "expected"),
    [
        ({"name": EVIL}, "scheduler.name: found"),
        ({"name": "linear"}, "expected one of linear_schedule_with_warmup"),
        ({"name": "linear_schedule_with_warmup"}, "scheduler.num_warmup_steps: missing"),
        ({"name": "sqrt_decay_schedule_with_warmup", "num_warmup_steps": 0}, "expected at least 1"),
        ({"name": "linear_schedule_with_warmup", "num_warmup_steps": 1, "num_cycles": 1}, "num_cycles: unknown key"),
    ],
)
def test_a_schedule_is_one_of_s3prls(scheduler: object, expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        checked(Sections, {"optimizer": ADAM, "scheduler": scheduler}, "r.yaml")
    assert expected in str(caught.value)


def test_numbers_in_text_reach_s3prl_as_numbers_and_no_key_is_added() -> None:
    content = {"optimizer": {"name": "AdamW_with_schedule", "lr": "2e-4", "betas": ["9e-1", 0.98]}}
    found = checked(Sections, content, "r.yaml")
    assert found == {"optimizer": {"name": "AdamW_with_schedule", "lr": 2e-4, "betas": [0.9, 0.98]}}
    assert checked(Sections, {"optimizer": ADAM, "scheduler": None}, "r")["scheduler"] is None


def leaves(kinds: Variants) -> dict[str, type]:
    return {
        name: leaf
        for by, reader in kinds.of.items()
        for name, leaf in (leaves(reader) if isinstance(reader, Variants) else {by: reader}).items()
    }


def test_names_and_keys_are_those_that_s3prl_and_torch_take() -> None:
    compat.apply()
    from s3prl import optimizers, schedulers

    for name, reader in leaves(SCHEDULERS).items():
        taken = set(inspect.signature(getattr(schedulers, f"get_{name}")).parameters)
        assert {field.name for field in fields(reader)} - {"name"} <= taken
    of_torch = leaves(OPTIMIZERS.of["TorchOptim"])  # type: ignore[arg-type]
    for name, reader in of_torch.items():
        taken = set(inspect.signature(getattr(torch.optim, name).__init__).parameters)
        assert {field.name for field in fields(reader)} - {"name", "torch_optim_name"} <= taken | {
            "decoupled_weight_decay"  # newer than the oldest torch
        }
    own = [name for name in OPTIMIZERS.of if name != "TorchOptim"]
    assert all(hasattr(optimizers, f"get_{name}") for name in own)
    layer = torch.nn.Linear(2, 2)
    for name in own:
        section = checked(Sections, {"optimizer": {"name": name, "lr": 1e-3}}, name)["optimizer"]
        optimizers.get_optimizer([layer], 10, section)

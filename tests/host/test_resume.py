"""What `-o` may change of a run that goes on."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import pytest
import torch

from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.host.checkpoint import read_checkpoint
from s3prl_gendistiller.host.overrides import read_overrides
from s3prl_gendistiller.host.resume import check_changes, check_sections
from s3prl_gendistiller.host.students import build_student
from tests.host.test_checkpoint import CONFIG

DATARC = {"libri_root": "x", "file_path": "x", "sets": ["train"]}
LOOP = {"total_steps": 9, "log_step": 2, "save_step": 2, "max_keep": 2, "gradient_clipping": 1.0}


def begun(tmp_path: Path, kind: str, options: dict[str, Any], **sections: Any) -> Path:
    config = {"runner": dict(LOOP), "optimizer": {"lr": 0.01, **options}}
    states: dict[str, Any] = {"Step": 4, "Args": argparse.Namespace(expdir="x"), "Optimizer": {}}
    if kind == "pretrain":
        config["pretrain_expert"] = {"datarc": DATARC}
        states |= {"GenDistiller": build_student(CONFIG).state_dict(), "Upstream_Config": CONFIG}
    else:
        config["downstream_expert"] = {"datarc": {"batch_size": 4}, "modelrc": {"width": 8}}
        states |= {"Downstream": {}, "Featurizer": {}}
    torch.save({**states, "Config": {**config, **sections}}, tmp_path / "states-4.ckpt")
    return tmp_path / "states-4.ckpt"


def check(path: Path, asked: str | None) -> None:
    check_changes(read_checkpoint(path), path, read_overrides(asked))


SCHEDULED = {"name": "AdamW_with_schedule", "betas": [0.9, 0.98]}
TORCH = {"name": "TorchOptim", "torch_optim_name": "SGD"}


@pytest.mark.parametrize("kind", ["pretrain", "downstream"])
@pytest.mark.parametrize(
    ("optimizer", "asked"),
    [
        (SCHEDULED, "config.runner.total_steps=20,,config.optimizer.lr=1e-3,,config.optimizer.betas=[0.8, 0.9]"),
        (SCHEDULED, "config.optimizer.warmup_proportion=0.5,,config.optimizer.eps=1e-3"),
        (TORCH, "config.optimizer.weight_decay=0.1,,config.runner.gradient_clipping=2.0,,config.runner.max_keep=1"),
        (TORCH, "config.runner.gradient_accumulate_steps=3,,args.device='cpu'"),
    ],
)
def test_what_takes_effect_is_let_through(tmp_path: Path, kind: str, optimizer: dict, asked: str) -> None:
    check(begun(tmp_path, kind, optimizer), asked)


@pytest.mark.parametrize("kind", ["pretrain", "downstream"])
@pytest.mark.parametrize(
    ("optimizer", "asked", "message"),
    [
        (
            SCHEDULED,
            "config.optimizer.weight_decay=0.5",
            "weight_decay: s3prl's AdamW_with_schedule ignores it",
        ),
        (
            {"name": "Adam"},
            "config.optimizer.betas=[0.5, 0.5]",
            "betas: unknown key",
        ),
        (
            TORCH,
            "config.optimizer.momentu=0.5",
            "momentu: unknown key; did you mean momentum",
        ),
        (TORCH, "config.optimizer.torch_optim_name='Adam'", "torch_optim_name: the stored momentum is of SGD"),
        (
            TORCH,
            "config.optimizer.name='Adam'",
            "optimizer.name: the stored momentum is of TorchOptim|torch_optim_name: unknown key",
        ),
        (TORCH, "config.runner.total_steps=3", "total_steps: found 3, but step 4 is done"),
        (
            TORCH,
            "config.scheduler={'name': 'linear_schedule_with_warmup', 'num_warmup_steps': 1}",
            "scheduler: the run began without one",
        ),
    ],
)
def test_what_would_have_no_effect_is_refused(
    tmp_path: Path, kind: str, optimizer: dict, asked: str, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        check(begun(tmp_path, kind, optimizer), asked)


def test_each_launcher_has_its_own_that_cannot_change(tmp_path: Path) -> None:
    path = begun(tmp_path, "pretrain", TORCH)
    for asked in ("args.seed=3", "args.upstream_config='x.yaml'", "args.init_ckpt='other.ckpt'"):
        with pytest.raises(UserError, match=f"{asked.partition('=')[0]}: a run that goes on takes it from"):
            check(path, asked)
    with pytest.raises(UserError, match="unknown key; did you mean total_steps"):
        check(path, "config.runner.totl_steps=20")
    path = begun(tmp_path, "pretrain", TORCH, runner={**LOOP, "n_epochs": 2})
    with pytest.raises(UserError, match="total_steps: the run counts 2 epochs; change config.runner.n_epochs"):
        check(path, "config.runner.total_steps=20")
    path = begun(tmp_path, "downstream", TORCH)
    check(path, "args.upstream_ckpt='moved.ckpt'")
    with pytest.raises(UserError, match="downstream_expert.modelrc: the head was made with it"):
        check(path, "config.downstream_expert.modelrc.width=9")


def test_a_configuration_without_its_sections_is_named(tmp_path: Path) -> None:
    for kind in ("pretrain", "downstream"):
        with pytest.raises(UserError, match="optimizer"):
            check(begun(tmp_path, kind, TORCH, optimizer=None), None)
    with pytest.raises(UserError, match="found no section downstream_expert in its Config"):
        check_sections({"Downstream": {}, "Config": {"runner": {}, "optimizer": {}, "downstream_expert": 5}}, tmp_path)


@pytest.mark.parametrize("kind", ["pretrain", "downstream"])
def test_a_finished_run_is_changed_only_if_it_is_made_longer(tmp_path: Path, kind: str) -> None:
    path = begun(tmp_path, kind, TORCH, runner={**LOOP, "total_steps": 4})
    check(path, None)
    check(path, "config.optimizer.lr=0.5,,config.runner.total_steps=9")
    with pytest.raises(UserError, match=r"is finished, at step 4, .*add config\.runner\.total_steps above 4"):
        check(path, "config.optimizer.lr=0.5")
    if kind == "pretrain":
        path = begun(tmp_path, kind, TORCH, runner={**LOOP, "total_steps": 4, "n_epochs": 3})
        with pytest.raises(UserError, match="add config.runner.n_epochs above 2"):
            check(path, "config.runner.n_epochs=2")

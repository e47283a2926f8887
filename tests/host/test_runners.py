"""A run that goes on with another end or another rate follows the schedule that it asks for, and keeps its momentum."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from s3prl_gendistiller.errors import UserError
from tests.host.loops import Loops, weights

SCHEDULERS: dict[str, dict[str, Any]] = {
    "linear_schedule_with_warmup": {},
    "cosine_schedule_with_warmup": {},
    "cosine_with_hard_restarts_schedule_with_warmup": {"num_cycles": 2},
    "sqrt_decay_schedule_with_warmup": {},
    "constant_decay_schedule_with_warmup": {},
    "noam_decay_schedule_with_warmup": {},
    "polynomial_decay_schedule_with_warmup": {"power": 2.0},
}
OPTIMIZERS: list[dict[str, Any]] = [
    *({"name": f"{name}_with_schedule", "warmup_proportion": 0.3} for name in ("AdamW", "Lamb", "BertAdam")),
    {"name": "Adam"},
    {"name": "AdamW"},
    {"name": "TorchOptim", "torch_optim_name": "SGD", "momentum": 0.9},
    *(
        {"name": "TorchOptim", "torch_optim_name": "AdamW", "scheduler": {"name": name, "num_warmup_steps": 3, **more}}
        for name, more in SCHEDULERS.items()
    ),
]


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda value: value.get("scheduler", value)["name"])
def test_a_resumed_run_follows_the_schedule_that_it_asks_for(loops: Loops, optimizer: dict[str, Any]) -> None:
    asked, begun = {**optimizer, "lr": 0.01}, {**optimizer, "lr": 0.03}
    whole = loops.train("whole", asked, total_steps=9, save_step=4)
    rates = loops.rates
    assert len(rates) == 9

    again = loops.train("again", asked, loops.folder / "whole/states-4.ckpt", total_steps=9, save_step=8)
    assert loops.rates == rates[4:]
    assert all(map(torch.equal, weights(whole), weights(again)))  # without -o nothing changes

    loops.train("other", begun, total_steps=6, save_step=4)
    path = loops.folder / "other/states-4.ckpt"
    longer = loops.train("longer", asked, path, total_steps=9, save_step=3)
    assert loops.rates == rates[4:]
    assert any(not torch.equal(*pair) for pair in zip(weights(longer), weights(whole), strict=True))
    assert all(state.get("step", 9) == 9 for state in longer_states(loops))


def longer_states(loops: Loops) -> list[dict[str, Any]]:
    newest = max((loops.folder / "longer").glob("states-*.ckpt"), key=lambda path: path.stat().st_mtime)
    return list(torch.load(newest, weights_only=False)["Optimizer"]["state"].values())


def test_an_extended_run_moves_at_every_step(loops: Loops) -> None:
    schedule = {"name": "AdamW_with_schedule", "lr": 0.01}
    loops.train("run", schedule, total_steps=4)
    path = max((loops.folder / "run").glob("states-*.ckpt"), key=lambda path: path.stat().st_mtime)
    before = weights(loops.train("none", schedule, path, total_steps=4))
    assert not loops.rates
    after = weights(loops.train("run", schedule, path, total_steps=8))
    assert not any(map(torch.equal, before, after)) and loops.rates[0] > 0
    assert loops.rates == sorted(loops.rates, reverse=True)


def test_another_optimiser_or_scheduler_than_the_run_began_with_is_refused(loops: Loops) -> None:
    loops.train("run", {"name": "TorchOptim", "torch_optim_name": "AdamW", "lr": 0.01})
    path = loops.folder / "run/states-2.ckpt"
    scheduled = {
        "name": "TorchOptim",
        "torch_optim_name": "AdamW",
        "lr": 0.01,
        "scheduler": OPTIMIZERS[-1]["scheduler"],
    }
    with pytest.raises(UserError, match="config.scheduler: found one, but the run began without"):
        loops.train("run", scheduled, path)
    with pytest.raises(UserError, match="its Optimizer does not fit the configuration"):
        loops.train("run", {"name": "AdamW_with_schedule", "lr": 0.01}, path)
    states = torch.load(path, weights_only=False)
    next(iter(states["Optimizer"]["state"].values()))["exp_avg"].fill_(float("nan"))
    torch.save(states, path)
    with pytest.raises(UserError, match="exp_avg in the checkpoint's Optimizer does not have its parameter's shape"):
        loops.train("run", {"name": "TorchOptim", "torch_optim_name": "AdamW", "lr": 0.01}, path)


@pytest.mark.parametrize("step", [6, 9])
def test_a_run_may_log_and_save_at_its_last_step_alone(loops: Loops, step: int) -> None:
    if loops.kind == "pretrain":
        logged: list[int] = []
        loops.task.last_step = None
        loops.task.log_records = lambda self, global_step, **given: logged.append(global_step)
        runner = loops.train("run", log_step=step, save_step=step, total_steps=6)
        assert runner.upstream.last_step == 6
        assert logged == [6] and runner.config["runner"]["log_step"] == step
        states = torch.load(loops.folder / "run/states-6.ckpt", weights_only=False)
        assert states["Config"]["runner"]["save_step"] == step
    else:
        loops.train("run", log_step=6, save_step=6, total_steps=6)
        assert (loops.folder / "run/states-6.ckpt").is_file()

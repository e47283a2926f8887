"""A training loop that meets numbers that are not finite, or has no memory, in both of the host's Runners."""

from __future__ import annotations

import logging
import re
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.host.checkpoint import newest_checkpoint, read_checkpoint, stored_step
from s3prl_gendistiller.host.training_guard import NON_FINITE_IN_A_ROW, OVERFLOWS_IN_A_ROW, TrainingGuard
from tests.host.loops import Loops, weights

Kind = Any


def not_a_number(loss: Tensor) -> Tensor:
    return loss * torch.nan


def infinite_with_a_finite_gradient(loss: Tensor) -> Tensor:
    return loss + torch.inf


def finite_with_a_gradient_of_nan(loss: Tensor) -> Tensor:
    return loss + (loss * 0).sqrt()


def finite(runner: Any) -> bool:
    return all(bool(value.isfinite().all()) for value in weights(runner))


FAULTS = [not_a_number, infinite_with_a_finite_gradient, finite_with_a_gradient_of_nan]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
@pytest.mark.parametrize("loop", [{}, {"gradient_accumulate_steps": 2}, {"fp16": True}], ids=["", "sums", "fp16"])
def test_a_step_that_is_not_finite_is_skipped_and_a_few_in_a_row_end_the_run(
    loops: Loops,
    fault: Kind,
    loop: dict[str, Any],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(logging.getLogger("s3prl_gendistiller"), "propagate", True)
    each = loop.get("gradient_accumulate_steps", 1)
    loops.task.fault = lambda batch, loss: fault(loss) if batch == 3 * each else loss
    with caplog.at_level(logging.WARNING):
        made = loops.train("once", **loop)
    assert finite(made) and "1 of 6 steps were skipped" in caplog.text

    loops.task.fault = lambda batch, loss: fault(loss) if batch > 2 * each else loss
    with pytest.raises(UserError) as caught:
        loops.train("ever", total_steps=50, max_keep=1, **loop)
    assert caught.value.begun
    message = str(caught.value)
    assert (
        "step 7: " in message
        and "not finite 5 times in a row, at learning rate 0.1 (config.optimizer.lr 0.1)" in message
    )
    assert re.search(r"-e \S*ever -o config\.optimizer\.lr=0\.01 goes on with the run", message)
    kept = newest_checkpoint(loops.folder / "ever")
    assert kept is not None and stored_step(kept) in (2, 4, 6)


def test_steps_that_are_skipped_rotate_nothing_away(loops: Loops) -> None:
    loops.task.fault = lambda batch, loss: not_a_number(loss) if batch > 3 else loss
    with pytest.raises(UserError, match="step 8: "):
        loops.train("run", total_steps=50, save_step=1, max_keep=2)
    steps = {stored_step(path) for path in (loops.folder / "run").glob("states-*.ckpt")}
    assert {2, 3} <= steps


def test_weights_that_are_not_finite_are_never_written(loops: Loops) -> None:
    loops.train("run", total_steps=3, max_keep=1)
    before = sorted((loops.folder / "run").glob("*.ckpt"))
    optimizer = {"name": "TorchOptim", "torch_optim_name": "SGD", "lr": 1e38, "weight_decay": 10.0}
    with pytest.raises(UserError, match=r"step \d: .*not finite.* at learning rate 1e\+38"):
        loops.train("run", optimizer, before[-1], total_steps=50, save_step=3, max_keep=1)
    assert sorted((loops.folder / "run").glob("*.ckpt")) == before
    states = read_checkpoint(before[-1])
    assert all(value.isfinite().all() for value in states["Toy" if loops.kind == "pretrain" else "Downstream"].values())


def test_memory_that_never_suffices_ends_the_run_with_the_keys_to_lower(loops: Loops) -> None:
    def full(loss: Tensor) -> Tensor:
        raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")

    loops.task.fault = lambda batch, loss: full(loss) if batch in (2, 3) else loss
    assert finite(loops.train("twice"))
    loops.task.fault = lambda batch, loss: full(loss) if batch > 3 else loss
    with pytest.raises(
        UserError, match="step 4: out of memory 5 times in a row; lower config.*train_batch_size"
    ) as caught:
        loops.train("ever")
    assert caught.value.begun and "config.runner.gradient_accumulate_steps" in str(caught.value)


def test_memory_that_fails_elsewhere_is_one_message(loops: Loops) -> None:
    def full(batch: int, loss: Tensor) -> Tensor:
        raise RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory: 9 bytes")

    def wrong(batch: int, loss: Tensor) -> Tensor:
        raise RuntimeError("sizes of tensors must match")

    loops.task.fault = full
    with pytest.raises(UserError, match="step 1: out of memory; lower") as caught:
        loops.train("run")
    assert not caught.value.begun
    loops.task.fault = wrong
    with pytest.raises(RuntimeError, match="must match"):
        loops.train("run")


def test_a_gradient_scaler_may_overflow_until_it_has_found_its_factor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    model = torch.nn.Linear(1, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    config = {"runner": {"fp16": True, "total_steps": 9}, "optimizer": {"lr": 0.1}}
    for bad_loss, allowed in ((False, OVERFLOWS_IN_A_ROW), (True, NON_FINITE_IN_A_ROW)):
        guard = TrainingGuard()
        guard.begin(
            SimpleNamespace(init_ckpt={}, config=config, upstream=model, args=SimpleNamespace(expdir="run")), optimizer
        )
        for number in range(1, allowed + 1):
            if bad_loss:
                guard.check_loss(model, (), torch.tensor(torch.inf))
            for parameter in model.parameters():
                parameter.grad = torch.full_like(parameter, torch.inf)
            if number < allowed:
                guard.clip_grad_norm_(model.parameters(), 1.0)
                assert all(parameter.grad is None for parameter in model.parameters())
        with pytest.raises(UserError, match=f"{allowed} times in a row"):
            guard.clip_grad_norm_(model.parameters(), 1.0)

"""Steps in the order of s3prl's Runner, and the clocks of their parts."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from stock import training
from stock.training import PARTS, Clock, optimiser_step, stock_config


def test_functions_alternate_and_the_first_round_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    order, clock = [], [0.0]
    durations = {"a": iter([90.0, 1.0, 5.0, 2.0]), "b": iter([90.0, 4.0, 4.0, 4.5])}

    def runs(name: str) -> None:
        order.append(name)
        clock[0] += next(durations[name])

    monkeypatch.setattr(training.time, "perf_counter", lambda: clock[0])
    found = training.medians({name: lambda name=name: runs(name) for name in durations}, 3, "")
    assert order == ["a", "b"] * 4 and found == {"a": 2.0, "b": 4.0}


def test_a_step_trains_what_may_be_trained() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 1))
    model[0].requires_grad_(False)
    before = [parameter.detach().clone() for parameter in model.parameters()]
    optimiser_step(model, lambda: model(torch.ones(2, 3)).sum())()
    changed = [not torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True)]
    assert changed == [False, False, True, True] and all(parameter.grad is None for parameter in model.parameters())


class Loss(nn.Module):
    """A teacher, a student that gives what s3prl's distiller gives, and a loss; each call advances a clock."""

    def __init__(self, now: list[float]) -> None:
        super().__init__()
        self.now, self.teacher, self.student = now, Slow(now, 5.0), Slow(now, 2.0, backward=3.0)

    def forward(self) -> torch.Tensor:
        self.now[0] += 0.25  # the copy to the device
        taught, predictions = self.teacher(torch.ones(1, 3)), self.student(torch.ones(1, 3))
        self.now[0] += 0.5
        return Later.apply((predictions[2] - taught[2].detach()).square().sum(), self.now, 0.125)


class Slow(nn.Module):
    def __init__(self, now: list[float], forward: float, backward: float = 0.0) -> None:
        super().__init__()
        self.now, self.times, self.linear = now, (forward, backward), nn.Linear(3, 1)

    def forward(self, x: torch.Tensor) -> tuple[None, None, torch.Tensor, None]:
        self.now[0] += self.times[0]
        return None, None, Later.apply(self.linear(x), self.now, self.times[1]), None


class Later(torch.autograd.Function):
    """The same tensor, whose backward pass takes time."""

    @staticmethod
    def forward(context: object, x: torch.Tensor, now: list[float], seconds: float) -> torch.Tensor:
        context.later = (now, seconds)
        return x.clone()

    @staticmethod
    def backward(context: object, gradient: torch.Tensor) -> tuple:
        now, seconds = context.later
        now[0] += seconds
        return gradient, None, None


def test_each_part_of_a_step_is_counted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    now, clock = [0.0], Clock()
    model = Loss(now)
    clock.watch(model.teacher, model.student)
    step = optimiser_step(model, model, clock)
    monkeypatch.setattr(training.time, "perf_counter", lambda: now[0])
    step()
    assert clock.parts == {}  # the clock did not run
    clip = nn.utils.clip_grad_norm_

    def slow_clip(*args: object) -> torch.Tensor:
        now[0] += 7.0
        return clip(*args)

    monkeypatch.setattr(nn.utils, "clip_grad_norm_", slow_clip)
    clock.start()
    step()
    assert clock.parts == dict(zip(PARTS, (5.0, 2.0 + 3.0, 0.25 + 0.5 + 0.125, 7.0), strict=True))


def test_a_gradient_that_is_not_a_number_changes_nothing() -> None:
    model = nn.Linear(3, 1)
    before = model.weight.detach().clone()
    optimiser_step(model, lambda: model(torch.full((1, 3), torch.nan)).sum())()
    assert torch.equal(model.weight, before) and model.weight.grad is None


def test_s3prls_distiller_copies_layers_of_a_hubert_alone() -> None:
    hubert, wavlm = stock_config(), stock_config("wavlm_base_plus")
    assert hubert["distiller"]["init_teacher_encoder_layers"] and not wavlm["distiller"]["init_teacher_encoder_layers"]
    assert (hubert["teacher"]["model"], wavlm["teacher"]["model"]) == ("hubert_base", "wavlm_base_plus")

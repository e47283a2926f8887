"""History in training: whose layer a step receives, and where its gradient goes."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from s3prl_gendistiller.models.feedback import history_of_step
from s3prl_gendistiller.models.gendistiller import GenDistiller
from tests.conftest import tiny_config

Audio = tuple[Tensor, Tensor]


def student(form: str) -> GenDistiller:
    torch.manual_seed(0)
    return GenDistiller(tiny_config(history_input=form, history_init="random", output_init="random"), 3).train()


def teacher_layers(frames: int = 24) -> Tensor:
    return torch.randn(3, 3, frames, 24, generator=torch.Generator().manual_seed(5))


def gradients(model: GenDistiller, wavs: Audio, teacher: Tensor | None) -> tuple[dict[str, Tensor], Tensor]:
    """Gradients of the last step's loss to the parameters, and to the layer that the step before generated."""
    kept: list[Tensor] = []
    stock = model._generate

    def generate(*given: Tensor) -> Tensor:
        kept.append(stock(*given))
        kept[-1].retain_grad()
        return kept[-1]

    model._generate = generate
    model(*wavs, teacher_layers=teacher).predictions[:, -1].square().mean().backward()
    named = {name: torch.zeros(1) if p.grad is None else p.grad for name, p in model.named_parameters()}
    return named, torch.zeros(1) if kept[-2].grad is None else kept[-2].grad


@pytest.mark.parametrize(
    ("form", "forced", "history", "earlier"),
    [
        ("project", False, True, True),
        ("project", True, False, False),
        ("carry", False, True, True),
        ("carry", True, False, True),
    ],
)
def test_the_gradient_of_a_step_goes_where_the_form_says_and_only_there(
    form: str, forced: bool, history: bool, earlier: bool, wavs: Audio
) -> None:
    """`earlier`: to the input of the first step, which reaches the last step through the steps between alone."""
    found, generated = gradients(student(form), wavs, teacher_layers() if forced else None)
    assert bool(generated.any()) == history
    of_steps = found["step_embedding.weight"].abs().sum(1) > 0
    assert of_steps.tolist() == [earlier, earlier, True]
    # z enters each step of project, and only the first step of carry
    assert all(bool(found[name].any()) == (earlier or form == "project") for name in found if "front_end" in name)
    assert all(found[name].any() for name in found if name.startswith(("layer.", "output.")))
    assert found["history_projection.weight"].any()


@pytest.mark.parametrize("frames", [24, 22])
def test_a_forced_history_is_the_teachers_layer_to_the_bit(frames: int) -> None:
    own, teacher = torch.randn(3, 24, 24, requires_grad=True), teacher_layers(frames=frames)[:, 1]
    history = history_of_step(own, teacher, 1.0)
    assert torch.equal(history[:, :frames], teacher)
    assert torch.equal(history[:, frames:], own[:, frames:])  # two frames that a teacher may lack
    history[:, :frames].sum().backward()
    assert not own.grad[:, :frames].any()


def test_an_own_history_is_kept() -> None:
    own = torch.randn(3, 24, 24)
    assert history_of_step(own, None, 1.0) is own
    assert history_of_step(own, torch.zeros_like(own), 0.0) is own


def test_whole_utterances_are_mixed() -> None:
    own, teacher = torch.zeros(40, 24, 8), torch.ones(40, 24, 8)
    torch.manual_seed(0)
    shares = history_of_step(own, teacher, 0.25).mean((1, 2))
    assert set(shares.tolist()) == {0.0, 1.0}
    assert 0.1 < float(shares.mean()) < 0.4

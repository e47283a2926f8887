"""History in training: whose layer a step receives, with which noise, and where its gradient goes."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from s3prl_gendistiller.config_gendistiller import GenerationTargetsConfig
from s3prl_gendistiller.models.feedback import SLOWEST, Feedback
from s3prl_gendistiller.models.gendistiller import GenDistiller
from tests.conftest import tiny_config

Audio = tuple[Tensor, Tensor]
FORCED = {"feedback": "teacher_forced"}


def student(form: str = "project", steps: int = 3, **targets: object) -> GenDistiller:
    torch.manual_seed(0)
    config = tiny_config(history_input=form, history_init="random", output_init="random")
    return GenDistiller(config, steps, GenerationTargetsConfig(**targets)).train()


def teacher_layers(steps: int = 3, frames: int = 24) -> Tensor:
    return torch.randn(3, steps, frames, 24, generator=torch.Generator().manual_seed(5))


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
    ("form", "targets", "history", "earlier"),
    [
        ("project", {}, True, True),
        ("project", {"feedback_gradient": "cut"}, False, False),
        ("project", FORCED, False, False),
        ("project", {**FORCED, "feedback_gradient": "through"}, True, True),
        ("carry", {}, True, True),
        ("carry", {"feedback_gradient": "cut"}, False, True),
        ("carry", {"carried_gradient": False}, True, True),
        ("carry", {"feedback_gradient": "cut", "carried_gradient": False}, False, False),
        ("carry", FORCED, False, True),
        ("carry", {**FORCED, "carried_gradient": False}, False, False),
        ("carry", {**FORCED, "feedback_gradient": "through"}, True, True),
        ("echo", {"carried_gradient": False}, False, False),
        ("recur", {"carried_gradient": False}, False, False),
    ],
)
def test_the_gradient_of_a_step_goes_where_the_form_says_and_only_there(
    form: str, targets: dict, history: bool, earlier: bool, wavs: Audio
) -> None:
    """`earlier`: to the input of the first step, which reaches the last step through the steps between alone."""
    teacher = teacher_layers() if targets.get("feedback") else None
    found, generated = gradients(student(form, **targets), wavs, teacher)
    assert bool(generated.any()) == history
    of_steps = found["step_embedding.weight"].abs().sum(1) > 0
    assert of_steps.tolist() == [earlier, earlier, True]
    # z enters each step of project, and only the first step of the other forms
    assert all(bool(found[name].any()) == (earlier or form == "project") for name in found if "front_end" in name)
    assert all(found[name].any() for name in found if name.startswith(("layer.", "output.")))
    assert form == "recur" or found["history_projection.weight"].any()


@pytest.mark.parametrize("form", ["project", "carry"])
@pytest.mark.parametrize("gradient", ["own", "cut", "through"])
@pytest.mark.parametrize("forced", [False, True])
def test_no_key_of_the_gradient_changes_a_value(form: str, gradient: str, forced: bool, wavs: Audio) -> None:
    feedback = "teacher_forced" if forced else "free_running"
    options = {"teacher_layers": teacher_layers()} if forced else {}
    plain = student(form, feedback=feedback)(*wavs, **options).predictions
    carried = {"carried_gradient": False} if form == "carry" else {}
    found = student(form, feedback=feedback, feedback_gradient=gradient, **carried)(*wavs, **options).predictions
    torch.testing.assert_close(
        found, plain, atol=1e-6, rtol=1e-5
    )  # project's steps are computed in one pass or in turn


@pytest.mark.parametrize("gradient", ["own", "cut", "through"])
@pytest.mark.parametrize("frames", [24, 22])
def test_a_forced_history_is_the_teachers_layer_to_the_bit(gradient: str, frames: int) -> None:
    feedback = Feedback(GenerationTargetsConfig(feedback="teacher_forced", feedback_gradient=gradient))
    own, teacher = torch.randn(3, 24, 24, requires_grad=True), teacher_layers(frames=frames)
    history = feedback.history(1, own, teacher, 1.0)
    assert torch.equal(history[:, :frames], teacher[:, 1])
    assert torch.equal(history[:, frames:], own[:, frames:])  # two frames that a teacher may lack
    if history.requires_grad:
        history[:, :frames].sum().backward()
    passed = own.grad is not None and own.grad[:, :frames].any()
    assert bool(passed) == (gradient == "through")


def test_an_own_history_is_kept_or_cut() -> None:
    own = torch.randn(3, 24, 24, requires_grad=True)
    assert Feedback(GenerationTargetsConfig()).history(0, own, None, 0.0) is own
    cut = Feedback(GenerationTargetsConfig(feedback_gradient="cut")).history(0, own, None, 0.0)
    assert torch.equal(cut, own) and not cut.requires_grad


@pytest.mark.parametrize(("by", "kinds"), [("frame", {"mixed"}), ("utterance", {"own", "teacher"})])
def test_frames_or_utterances_are_mixed(by: str, kinds: set[str]) -> None:
    feedback = Feedback(GenerationTargetsConfig(feedback="scheduled", feedback_by=by))
    own, teacher = torch.zeros(40, 24, 8), torch.ones(40, 3, 24, 8)
    torch.manual_seed(0)
    history = feedback.history(1, own, teacher, 0.25)
    frames = history.mean(-1)
    assert ((frames == 0) | (frames == 1)).all()  # no frame is half of each
    shares = frames.mean(1)
    assert {"own" if x == 0 else "teacher" if x == 1 else "mixed" for x in shares.tolist()} == kinds
    assert 0.1 < float(shares.mean()) < 0.4


def noisy(factor: float = 1.0, steps: int = 3) -> Feedback:
    return Feedback(GenerationTargetsConfig(feedback="teacher_forced", feedback_noise=factor), steps, 24).train()


def test_noise_has_the_size_of_the_own_error_in_each_layer_and_channel() -> None:
    feedback = noisy(0.5)
    size = torch.linspace(0.1, 3.0, 24)
    teacher, mask = torch.zeros(64, 3, 50, 24), torch.ones(64, 50, dtype=torch.bool)
    mask[:, 40:] = False
    torch.manual_seed(0)
    own = [layer * size * torch.randn(64, 52, 24) for layer in (1.0, 2.0, 9.0)]
    own[0][:, 40:] = float("inf")  # padding does not count
    feedback.observe(own, teacher, mask)
    for index, layer in enumerate((1.0, 2.0)):
        torch.testing.assert_close(feedback.mean_square[index].sqrt(), layer * size, atol=0, rtol=0.1)
        found = feedback.history(index, torch.zeros(64, 50, 24), teacher, 1.0)
        torch.testing.assert_close(found.std((0, 1)), 0.5 * layer * size, atol=0, rtol=0.1)
        assert found.mean((0, 1)).abs().max() < 0.2
    assert torch.equal(feedback.eval().history(0, own[0], teacher, 1.0)[:, :50], teacher[:, 0])  # training alone


def test_the_error_is_a_mean_over_all_batches_first_and_over_recent_ones_later() -> None:
    feedback, mask = noisy(), torch.ones(1, 2, dtype=torch.bool)

    def observe(error: float, count: int = 3) -> list[float]:
        feedback.observe([torch.full((1, 2, 24), error)] * count, torch.zeros(1, count, 2, 24), mask)
        return [float(value) for value in feedback.mean_square[:, 0]]

    assert observe(1.0) == [1.0, 1.0]
    assert observe(2.0) == [2.5, 2.5]
    assert observe(3.0, count=1) == pytest.approx([14 / 3, 2.5])  # a batch of random_depth
    assert observe(float("nan")) == pytest.approx([14 / 3, 2.5])
    for _ in range(200):
        observe(1.0)
    before = float(feedback.mean_square[0, 0])
    assert observe(2.0)[0] == pytest.approx(before + SLOWEST * (4.0 - before), rel=1e-5)


@pytest.mark.parametrize("form", ["project", "carry"])
def test_a_student_in_training_measures_its_error_and_hears_noise(form: str, wavs: Audio) -> None:
    model, plain = student(form, **FORCED, feedback_noise=1.0), student(form, **FORCED)
    teacher = teacher_layers()
    first = model(*wavs, teacher_layers=teacher)
    assert torch.equal(first.predictions, plain(*wavs, teacher_layers=teacher).predictions)  # nothing measured yet
    error = (first.predictions - teacher)[:, :2]
    real = first.frame_mask[:, None, :, None]
    expected = error.detach().square().masked_fill(~real, 0.0).sum((0, 2)) / first.frame_mask.sum()
    torch.testing.assert_close(model.feedback.mean_square, expected)
    second = model(*wavs, teacher_layers=teacher).predictions
    assert torch.equal(second[:, 0], first.predictions[:, 0])
    assert not torch.allclose(second[:, 1], first.predictions[:, 1], atol=1e-3)
    kept = model.feedback.mean_square.clone()
    assert torch.equal(model.eval()(*wavs).predictions, plain.eval()(*wavs).predictions)  # free running
    assert torch.equal(model.feedback.mean_square, kept)


def test_a_student_without_noise_holds_no_error_and_one_in_use_neither() -> None:
    assert not any("feedback" in name for name in student().state_dict())
    model = student(**FORCED, feedback_noise=1.0)
    assert [name for name in model.state_dict() if "feedback" in name] == ["feedback.mean_square", "feedback.batches"]
    assert not any("feedback" in name for name in model.for_use().state_dict())

"""`history: all`: attention that is causal over steps and free over frames, against the definition's dense mask."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from s3prl_gendistiller.models import attention as module_under_test
from s3prl_gendistiller.models.attention import SelfAttention
from s3prl_gendistiller.models.gendistiller import GenDistiller
from tests.conftest import tiny_config

WIDTH, HEADS, FRAMES = 12, 3, 7
MASK = torch.arange(FRAMES) < torch.tensor([[FRAMES], [4]])
CONTROLS = ("recur", "echo")
FORMS = ("add", "project", "concat", "carry", *CONTROLS)
Audio = tuple[Tensor, Tensor]


def attention(dropout: float = 0.0) -> SelfAttention:
    torch.manual_seed(1)
    return SelfAttention(WIDTH, HEADS, dropout=dropout).double()


def inputs(steps: int, frames: int = FRAMES) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(2, steps, frames, WIDTH, generator=generator, dtype=torch.float64).requires_grad_()


def dense(module: SelfAttention, x: Tensor, mask: Tensor) -> Tensor:
    """All steps as one sequence of N T frames, with a mask of (N T) x (N T)."""
    batch, steps, frames, width = x.shape
    step_of = torch.arange(steps).repeat_interleave(frames)
    allowed = (step_of[:, None] >= step_of[None, :]) & mask.repeat(1, steps)[:, None, :]  # (B, N T, N T)
    flat, size = x.flatten(1, 2), width // HEADS
    heads = []
    for head in range(HEADS):
        part = slice(head * size, (head + 1) * size)
        q, k, v = (layer(flat)[..., part] for layer in (module.q_proj, module.k_proj, module.v_proj))
        scores = (q @ k.transpose(1, 2) / math.sqrt(size)).masked_fill(~allowed, -math.inf)
        heads.append(torch.softmax(scores, dim=-1) @ v)
    return module.out_proj(torch.cat(heads, dim=-1)).unflatten(1, (steps, frames))


def step_by_step(module: SelfAttention, x: Tensor, mask: Tensor | None) -> Tensor:
    found, earlier = [], []
    for step in range(x.shape[1]):
        y, own = module(x[:, step], mask, tuple(earlier))
        earlier.append(own)
        found.append(y)
    return torch.stack(found, dim=1)


def gradients(module: SelfAttention, x: Tensor, y: Tensor) -> list[Tensor]:
    weight = torch.arange(y.numel(), dtype=torch.float64).view_as(y).sin() * MASK[:, None, :, None]
    return list(torch.autograd.grad((y * weight).sum(), [x, *module.parameters()]))


@pytest.mark.parametrize("steps", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("way", ["step by step", "at once", "checkpointed", "in blocks"])
def test_equals_a_dense_mask(steps: int, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module, x = attention(), inputs(steps)
    expected = dense(module, x, MASK)
    wanted = gradients(module, x, expected)
    module.recomputed = way == "checkpointed"
    if way == "in blocks":  # those that hold scores for dropout; so little of it drops nothing
        module.dropout = 1e-300
        monkeypatch.setattr(module_under_test, "SCORES_AT_ONCE", 2 * HEADS * steps * FRAMES * 3)
    y = module(x, MASK)[0] if way == "at once" else step_by_step(module, x, MASK)
    real = MASK[:, None].expand(-1, steps, -1)
    torch.testing.assert_close(y[real], expected[real], atol=1e-10, rtol=0)
    for found, gradient in zip(gradients(module, x, y), wanted, strict=True):
        torch.testing.assert_close(found, gradient, atol=1e-10, rtol=0)


def test_no_mask_equals_a_mask_without_padding() -> None:
    module, x = attention(), inputs(3)
    everything = torch.ones(2, FRAMES, dtype=torch.bool)
    torch.testing.assert_close(step_by_step(module, x, None), dense(module, x, everything), atol=1e-10, rtol=0)


def test_dropout_in_blocks_has_the_gradient_of_what_it_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module_under_test, "SCORES_AT_ONCE", 2 * HEADS * 3 * FRAMES * 2)
    module, x = attention(dropout=0.4), inputs(3)

    def loss(given: Tensor) -> Tensor:
        torch.manual_seed(3)
        return step_by_step(module, given, MASK).square().sum()

    direction = torch.randn(x.shape, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    (gradient,) = torch.autograd.grad(loss(x), x)
    step = 1e-6
    with torch.no_grad():
        slope = (loss(x + step * direction) - loss(x - step * direction)) / (2 * step)
    assert float((gradient * direction).sum()) == pytest.approx(float(slope), rel=1e-6)
    torch.manual_seed(4)
    assert not torch.equal(step_by_step(module, x, MASK), step_by_step(module, x, MASK))


def test_joined_steps_are_not_kept_for_the_backward_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[int] = []

    class Watched(saved_tensors_hooks):
        def __init__(self, pack: Callable, unpack: Callable) -> None:
            def watched(saved: Tensor) -> object:
                packed = pack(saved)
                kept.append(packed.numel() if isinstance(packed, Tensor) else 0)
                return packed

            super().__init__(watched, unpack)

    monkeypatch.setattr(module_under_test, "saved_tensors_hooks", Watched)
    x = inputs(6)
    step_by_step(attention(), x, None)
    assert kept.count(0) == 2 * 5 and max(kept) == x[:, 0].numel()  # keys and values of five joined sequences


def student(steps: int = 3, **changes: object) -> GenDistiller:
    torch.manual_seed(0)
    config = tiny_config(**{"history": "all", "history_init": "random", **changes})
    return GenDistiller(config, steps).eval()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("changed", [0, 1])
def test_a_steps_history_never_reaches_back(form: str, changed: int, wavs: Audio) -> None:
    """What is fed back after step k: the steps up to it are bit-identical, the later ones are not."""
    model = student(4, history_input=form)
    free = model(*wavs).predictions
    teacher = free.clone()
    teacher[:, changed] += 1.0
    forced = model(*wavs, teacher_layers=teacher, teacher_probability=0.999999).predictions  # step by step
    assert torch.equal(forced[:, : changed + 1], free[:, : changed + 1])
    different = [not torch.equal(forced[:, step], free[:, step]) for step in range(changed + 1, 4)]
    assert all(different) == (form not in CONTROLS) == any(different)


@pytest.mark.parametrize("history", ["previous", "all"])
def test_layers_older_than_the_previous_one_count_only_with_history_all(history: str, wavs: Audio) -> None:
    model = student(4, history=history, history_input="project")
    teacher = model(*wavs).predictions.detach()
    changed = teacher.clone()
    changed[:, 0] += 1.0  # is the history of step 2 alone
    before, after = (model(*wavs, teacher_layers=layers).predictions for layers in (teacher, changed))
    assert not torch.equal(before[:, 1], after[:, 1])
    assert [torch.equal(before[:, step], after[:, step]) for step in (2, 3)] == [history == "previous"] * 2


def test_padded_frames_change_nothing_and_real_frames_change_every_frame_of_the_step(wavs: Audio) -> None:
    model = student(history_input="project").double()
    audio, lengths = wavs[0].double(), wavs[1]
    teacher = model(audio, lengths).predictions.detach()
    mask = model(audio, lengths).frame_mask
    padded, real = teacher.clone(), teacher.clone()
    padded[:, :, 20:][~mask[:, None, 20:].expand(-1, 3, -1)] *= 1.5
    real[1, 0, 3, 5] += 1.0
    before, same, other = (model(audio, lengths, teacher_layers=t).predictions for t in (teacher, padded, real))
    shown = mask[:, None].expand(-1, 3, -1)
    assert torch.equal(before[shown], same[shown])
    assert ((before[1, 1:] - other[1, 1:]).abs().amax(-1)[:, mask[1]] > 0).all()
    assert torch.equal(before[[0, 2]], other[[0, 2]])


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("steps", [1, 2])
def test_fewer_steps_give_the_first_layers(form: str, steps: int, wavs: Audio) -> None:
    model = student(history_input=form)
    short, full = model.generate(*wavs, steps=steps), model.generate(*wavs)
    assert all(torch.equal(a, b) for a, b in zip(short.hidden_states, full.hidden_states, strict=False))


@pytest.mark.parametrize("history", ["previous", "all"])
@pytest.mark.parametrize("form", ["add", "project", "concat"])
@pytest.mark.parametrize("extra", [{}, {"skip_connection": "history"}, {"layer_norm_first": True}])
def test_teacher_forcing_in_one_pass_equals_step_by_step(history: str, form: str, extra: dict, wavs: Audio) -> None:
    model = student(history=history, history_input=form, **extra).double()
    with torch.no_grad():
        model.step_norms.normal_(std=0.1)
    audio, lengths = wavs[0].double(), wavs[1]
    teacher = torch.randn(3, 3, 24, 24, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert model._known_ahead(torch.zeros(3, 24, 24), teacher, 1.0)
    at_once = model(audio, lengths, teacher_layers=teacher)
    model._known_ahead = lambda *given: False
    one_by_one = model(audio, lengths, teacher_layers=teacher)
    torch.testing.assert_close(at_once.predictions, one_by_one.predictions, atol=1e-12, rtol=0)
    assert len(model(audio, lengths, teacher_layers=teacher, steps=2).hidden_states) == 3


@pytest.mark.parametrize("history", ["previous", "all"])
@pytest.mark.parametrize("form", ["carry", "project"])
def test_checkpointing_gives_the_same_gradients(history: str, form: str, wavs: Audio) -> None:
    found = []
    for checkpointing in (False, True):
        model = student(history=history, history_input=form, gradient_checkpointing=checkpointing).train()
        torch.manual_seed(7)
        model(*wavs).predictions.square().mean().backward()
        found.append({name: parameter.grad for name, parameter in model.named_parameters()})
    for name, gradient in found[0].items():
        torch.testing.assert_close(found[1][name], gradient, atol=1e-6, rtol=1e-5)


def test_history_all_has_no_parameters_of_its_own() -> None:
    assert student().state_dict().keys() == student(history="previous").state_dict().keys()

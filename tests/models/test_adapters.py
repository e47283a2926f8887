"""Low-rank adapters of the shared layer: what they add, where, and that without them nothing changes."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor

from s3prl_gendistiller.models.adapters import MATRICES, StepAdapters
from s3prl_gendistiller.models.encoder_layer import EncoderLayer
from s3prl_gendistiller.models.gendistiller import GenDistiller
from s3prl_gendistiller.superb.cost.counted_models import AsUpstream
from s3prl_gendistiller.superb.cost.multiply_adds import count
from tests.conftest import tiny_config

RANK = 2


def student(**changes: object) -> GenDistiller:
    torch.manual_seed(0)
    return GenDistiller(tiny_config(**{"history_init": "random", **changes}), 3).eval()


def trained(model: GenDistiller) -> GenDistiller:
    """The same student with adapters that add something."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith(".up"):
                parameter.normal_(std=0.3)
    return model


@pytest.mark.parametrize("form", ["echo", "carry", "project"])
def test_a_student_starts_as_the_student_without_adapters(form: str, wavs: tuple[Tensor, Tensor]) -> None:
    model, bare = student(history_input=form, step_rank=RANK), student(history_input=form)
    assert bare.step_adapters is None
    own = model.state_dict()
    assert all(torch.equal(value, own[name]) for name, value in bare.state_dict().items())
    assert torch.equal(model(*wavs).predictions, bare(*wavs).predictions)


@pytest.mark.parametrize("norm_first", [False, True])
def test_adapters_add_their_product_to_each_matrix(norm_first: bool) -> None:
    torch.manual_seed(0)
    layer = EncoderLayer(8, 16, 2, norm_first=norm_first, position_bias="gated").eval()
    adapters = StepAdapters(layer, RANK, passes=2)
    assert [name.rpartition(".")[2] for name in MATRICES] == list(adapters.of)
    merged = copy.deepcopy(layer)
    with torch.no_grad():
        for name, path in zip(adapters.of, MATRICES, strict=True):
            adapters.of[name].up.normal_()
            merged.get_submodule(path).weight += adapters.of[name].up[1] @ adapters.of[name].down[1]
    x = torch.randn(2, 5, 8)
    found, (keys, values) = layer(x, None, adapters=adapters.of_pass(1))
    expected, (merged_keys, merged_values) = merged(x, None)
    assert not torch.allclose(found, layer(x, None)[0], atol=1e-2)
    for one, other in ((found, expected), (keys, merged_keys), (values, merged_values)):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)


def test_an_adapter_changes_its_own_step_on(wavs: tuple[Tensor, Tensor]) -> None:
    model = student(history_input="echo", silent_passes=1, step_rank=RANK)
    before = model(*wavs).predictions
    with torch.no_grad():
        model.step_adapters.of["ffn_out"].up[2].normal_()  # the second prediction, after one silent pass
    after = model(*wavs).predictions
    assert torch.equal(after[:, 0], before[:, 0])
    assert all((after[:, step] - before[:, step]).abs().max() > 0.01 for step in (1, 2))


@pytest.mark.parametrize("history", ["previous", "all"])
def test_all_steps_at_once_equal_one_after_another(history: str, wavs: tuple[Tensor, Tensor]) -> None:
    model = trained(student(history_input="project", history=history, step_rank=RANK))
    free = model(*wavs).predictions
    torch.testing.assert_close(model(*wavs, teacher_layers=free).predictions, free, atol=1e-5, rtol=1e-4)
    other = trained(student(history_input="project", history=history, step_rank=RANK, gradient_checkpointing=True))
    assert torch.equal(other(*wavs).predictions, free)


def test_gradients_reach_every_adapter(wavs: tuple[Tensor, Tensor]) -> None:
    model = trained(student(history_input="echo", position_bias="gated", step_rank=RANK, silent_passes=1)).train()
    model(*wavs).predictions.square().mean().backward()
    assert [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0] == []


def test_parameters_and_multiply_adds_are_counted() -> None:
    width, ffn, seconds = 24, 32, 1
    model, bare = student(history_input="echo", step_rank=RANK), student(history_input="echo")
    ends = 4 * (width + width) + 2 * (width + ffn)
    assert model.count_parameters()["step_adapters"] == 3 * RANK * ends
    wav = torch.randn(16_000 * seconds)
    frames = model.generate(wav).predictions.shape[2]
    more = count(AsUpstream(model), [wav]).multiply_adds - count(AsUpstream(bare), [wav]).multiply_adds
    assert more == 3 * frames * RANK * ends

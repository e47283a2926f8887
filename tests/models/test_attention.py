"""Attention against a computation by hand, and the position bias against WavLM's formulas one pair at a time."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from s3prl_gendistiller.models.attention import GatedPositionBias, SelfAttention

WIDTH, HEADS = 12, 3


def frames(batch: int = 2, length: int = 9) -> Tensor:
    return torch.randn(batch, length, WIDTH, generator=torch.Generator().manual_seed(0))


def position_bias(**changes: int) -> GatedPositionBias:
    torch.manual_seed(0)
    module = GatedPositionBias(HEADS, WIDTH // HEADS, **{"buckets": 16, "max_distance": 20, **changes})
    nn.init.normal_(module.relative_embedding.weight)
    nn.init.normal_(module.gate_scale)
    return module


def attention(bias: nn.Module | None = None, dropout: float = 0.0) -> SelfAttention:
    torch.manual_seed(1)
    return SelfAttention(WIDTH, HEADS, dropout=dropout, position_bias=bias).eval()


def by_hand(module: SelfAttention, x: Tensor, bias: Tensor) -> Tensor:
    """softmax(q k / sqrt(d) + bias) v, head by head."""
    size = WIDTH // HEADS
    heads = []
    for head in range(HEADS):
        part = slice(head * size, (head + 1) * size)
        q, k, v = (layer(x)[..., part] for layer in (module.q_proj, module.k_proj, module.v_proj))
        heads.append(torch.softmax(q @ k.transpose(1, 2) / math.sqrt(size) + bias[:, head], dim=-1) @ v)
    return module.out_proj(torch.cat(heads, dim=-1))


def bucket_by_hand(distance: int, buckets: int, max_distance: int) -> int:
    """T5's buckets: a quarter exact each way, logarithmic beyond, the last shared by all that is farther."""
    half, exact = buckets // 2, buckets // 4
    size = abs(distance)
    if size >= exact:
        shared = exact + int(math.log(size / exact) / math.log(max_distance / exact) * (half - exact))
        size = min(shared, half - 1)
    return size + (half if distance > 0 else 0)


@pytest.mark.parametrize(("buckets", "max_distance"), [(16, 20), (320, 800), (32, 128)])
def test_every_distance_has_the_bucket_that_it_has_in_wavlm(buckets: int, max_distance: int) -> None:
    module = position_bias(buckets=buckets, max_distance=max_distance)
    distances = torch.arange(-1500, 1501)
    # the float32 logarithm may fall to either side of an exact power: one bucket at these places
    expected = torch.tensor([bucket_by_hand(distance, buckets, max_distance) for distance in distances.tolist()])
    differences = (module._bucket(distances) - expected).abs()
    assert int(differences.max()) <= 1 and int((differences > 0).sum()) <= 8


def test_the_bias_equals_wavlms_formula_pair_by_pair() -> None:
    module, x = position_bias(), frames()
    found = module(x)
    assert found.shape == (2, HEADS, 9, 9)
    size = WIDTH // HEADS
    for head in range(HEADS):
        for query in range(9):
            gate = module.gate(x[1, query, head * size : (head + 1) * size])
            update, reset = torch.sigmoid(gate[:4].sum()), torch.sigmoid(gate[4:].sum())
            scale = update * (reset * module.gate_scale[0, head, 0, 0] - 1.0) + 2.0
            for key in range(9):
                distance = module.relative_embedding.weight[bucket_by_hand(key - query, 16, 20), head]
                torch.testing.assert_close(found[1, head, query, key], scale * distance)


def test_attention_equals_the_definition() -> None:
    module, x = attention(), frames()
    torch.testing.assert_close(
        module(x, None)[0], by_hand(module, x, torch.zeros(2, HEADS, 9, 9)), atol=1e-6, rtol=1e-5
    )


def test_attention_adds_the_position_bias() -> None:
    bias, x = position_bias(), frames()
    module = attention(bias)
    torch.testing.assert_close(module(x, None)[0], by_hand(module, x, bias(x)), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("gated", [False, True])
def test_padded_frames_are_never_attended_to(gated: bool) -> None:
    module, x = attention(position_bias() if gated else None), frames()
    mask = torch.arange(9) < torch.tensor([[9], [4]])
    found = module(x, mask)[0]
    assert found.isfinite().all()
    torch.testing.assert_close(found[1, :4], module(x[1:, :4], None)[0][0], atol=1e-6, rtol=1e-5)
    noisy = torch.where(mask.unsqueeze(-1), x, 1e3)
    torch.testing.assert_close(module(noisy, mask)[0][mask], found[mask], atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("gated", [False, True])
def test_no_mask_equals_a_mask_without_padding(gated: bool) -> None:
    module, x = attention(position_bias() if gated else None), frames()
    torch.testing.assert_close(
        module(x, None)[0], module(x, torch.ones(2, 9, dtype=torch.bool))[0], atol=1e-6, rtol=1e-5
    )


@pytest.mark.parametrize("gated", [False, True])
def test_attention_runs_in_bfloat16_autocast(gated: bool) -> None:
    module, x = attention(position_bias() if gated else None), frames()
    mask = torch.arange(9) < torch.tensor([[9], [4]])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = module(x, mask)[0]
    torch.testing.assert_close(found.float()[mask], module(x, mask)[0][mask], atol=0.05, rtol=0.05)


def test_dropout_falls_on_the_weights_in_training_only() -> None:
    module, x = attention(dropout=0.5), frames()
    assert torch.equal(module(x, None)[0], module(x, None)[0])
    module.train()
    assert not torch.equal(module(x, None)[0], module(x, None)[0])


def test_gradients_reach_every_parameter_with_padding() -> None:
    module = attention(position_bias()).train()
    mask = torch.arange(9) < torch.tensor([[9], [4]])
    module(frames(), mask)[0][mask].square().sum().backward()
    silent = [name for name, p in module.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
    assert silent == []
    assert all(p.grad.abs().sum() > 0 for name, p in module.named_parameters() if name != "k_proj.bias")

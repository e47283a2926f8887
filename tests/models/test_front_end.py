from __future__ import annotations

import pytest
import torch

from s3prl_gendistiller.config import HUBERT_CONV_LAYERS
from s3prl_gendistiller.models.front_end import ConvFrontEnd, ConvPosition, num_frames
from tests.conftest import TINY_CONV


@pytest.mark.parametrize(
    ("samples", "frames"), [(0, 0), (399, 0), (400, 1), (719, 1), (720, 2), (16_000, 49), (16_001, 49), (250_000, 781)]
)
def test_frames_at_the_edges_of_the_receptive_field(samples: int, frames: int) -> None:
    assert num_frames(torch.tensor([samples]), HUBERT_CONV_LAYERS).item() == frames


@pytest.mark.parametrize("samples", [400, 719, 720, 12_345])
def test_the_network_gives_as_many_frames_as_the_arithmetic(samples: int) -> None:
    front_end = ConvFrontEnd(TINY_CONV, mode="default", dropout=0.0, grad_mult=1.0)
    features, mask = front_end(torch.randn(1, samples), torch.tensor([samples]))
    assert features.shape[1] == mask.sum() == num_frames(torch.tensor([samples]), TINY_CONV).item()


def test_less_than_one_frame_is_refused() -> None:
    front_end = ConvFrontEnd(TINY_CONV, mode="default", dropout=0.0, grad_mult=1.0)
    with pytest.raises(ValueError, match="399 samples, expected at least one frame"):
        front_end(torch.randn(2, 800), torch.tensor([800, 399]))


def test_grad_mult_scales_the_gradient_only(seeded: None) -> None:
    wavs, lengths = torch.randn(1, 800), torch.tensor([800])
    gradients = {}
    for factor in (1.0, 0.1):
        torch.manual_seed(0)
        front_end = ConvFrontEnd(TINY_CONV, mode="default", dropout=0.0, grad_mult=factor)
        features, _ = front_end(wavs, lengths)
        features.square().sum().backward()
        gradients[factor] = (features.detach(), front_end.layers[0].conv.weight.grad)
    assert torch.equal(gradients[1.0][0], gradients[0.1][0])
    torch.testing.assert_close(gradients[1.0][1] * 0.1, gradients[0.1][1])


def test_grad_mult_zero_freezes_the_convolutions() -> None:
    front_end = ConvFrontEnd(TINY_CONV, mode="default", dropout=0.0, grad_mult=0.0)
    assert not any(parameter.requires_grad for parameter in front_end.parameters())


def test_the_group_norm_is_torchs_on_each_utterance_alone() -> None:
    front_end = ConvFrontEnd(TINY_CONV, mode="default", dropout=0.0, grad_mult=1.0)
    norm = front_end.layers[0].norm
    stock = torch.nn.GroupNorm(norm.num_groups, norm.num_channels)
    x, frames = 3 + torch.randn(3, norm.num_channels, 11), torch.tensor([11, 4, 2])
    found = norm(x, frames)
    for index, count in enumerate(frames.tolist()):
        torch.testing.assert_close(found[index, :, :count], stock(x[index : index + 1, :, :count])[0])
        assert not found[index, :, count:].any()
    assert torch.equal(norm(x, None), stock(x))


@pytest.mark.parametrize("kernel", [7, 8])
def test_position_keeps_the_number_of_frames(kernel: int) -> None:
    assert ConvPosition(24, kernel=kernel, groups=2)(torch.randn(2, 11, 24)).shape == (2, 11, 24)

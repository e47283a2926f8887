"""Thin front end: HuBERT's frames with fewer channels, whatever the padding and the batch."""

from __future__ import annotations

import pytest
import torch

from s3prl_gendistiller.config import HUBERT_CONV_LAYERS
from s3prl_gendistiller.models.front_end import num_frames
from s3prl_gendistiller.models.thin import ThinFrontEnd, build
from tests.conftest import tiny_config

CHANNELS = (3, 4, 4, 5, 4, 6, 7)
MODES = ("default", "layer_norm")


def front_end(mode: str = "default", grad_mult: float = 1.0) -> ThinFrontEnd:
    torch.manual_seed(0)
    keys = {"thin_channels": CHANNELS, "extractor_mode": mode, "feature_grad_mult": grad_mult}
    return build(tiny_config(front_end="thin", **keys))


def test_kernels_and_strides_are_huberts_and_the_channels_those_of_the_key() -> None:
    model = front_end()
    assert [shape[1:] for shape in model.conv_layers] == [shape[1:] for shape in HUBERT_CONV_LAYERS]
    assert tuple(layer.conv.out_channels for layer in model.layers) == CHANNELS and model.channels == CHANNELS[-1]


@pytest.mark.parametrize("mode", MODES)
def test_every_length_has_huberts_frames(mode: str) -> None:
    model = front_end(mode)
    for samples in [*range(400, 1100), 15_999, 16_000, 16_001, 31_997]:
        expected = int(num_frames(torch.tensor([samples]), HUBERT_CONV_LAYERS))
        features, mask = model(torch.randn(1, samples), torch.tensor([samples]))
        assert features.shape == (1, expected, CHANNELS[-1]) and int(mask.sum()) == expected, samples


@pytest.mark.parametrize("mode", MODES)
def test_no_frame_depends_on_padding_or_on_the_batch(mode: str) -> None:
    model, lengths = front_end(mode), torch.tensor([16_000, 5_000, 400])
    wavs = torch.randn(3, 16_000) * (torch.arange(16_000) < lengths.unsqueeze(1))
    features, mask = model(wavs, lengths)
    longer, _ = model(torch.nn.functional.pad(wavs, (0, 3_333)), lengths)
    for index, samples in enumerate(lengths.tolist()):
        alone, _ = model(wavs[index : index + 1, :samples], lengths[index : index + 1])
        frames = alone.shape[1]
        assert int(mask[index].sum()) == frames
        assert torch.allclose(features[index, :frames], alone[0], atol=1e-5)
        assert torch.allclose(longer[index, :frames], alone[0], atol=1e-5)


@pytest.mark.parametrize("mode", MODES)
def test_gradients_reach_every_convolution_as_far_as_they_should(mode: str) -> None:
    wavs, lengths = torch.randn(2, 2_000), torch.tensor([2_000, 900])
    gradients = []
    for factor in (1.0, 0.5):
        model = front_end(mode, factor)
        model(wavs, lengths)[0].square().sum().backward()
        gradients.append([parameter.grad for parameter in model.parameters()])
    for whole, half in zip(*gradients, strict=True):
        assert whole is not None and bool(whole.any())
        assert torch.allclose(whole * 0.5, half, rtol=1e-4)
    assert not any(parameter.requires_grad for parameter in front_end(mode, 0.0).parameters())


def test_less_than_one_frame_is_refused() -> None:
    with pytest.raises(ValueError, match="399 samples, expected at least one frame"):
        front_end()(torch.zeros(2, 800), torch.tensor([800, 399]))

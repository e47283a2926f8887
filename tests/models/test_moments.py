"""Moments of parts are those of the whole, and a front end that is given them takes a part as it takes the whole."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from s3prl_gendistiller.models.front_end import ConvFrontEnd, Front
from s3prl_gendistiller.models.mel import MelFrontEnd
from s3prl_gendistiller.models.moments import Moments, Statistics
from tests.conftest import TINY_CONV

HALF = 161  # frames of the whole, which is cut in the middle


def conv() -> ConvFrontEnd:
    made = ConvFrontEnd(TINY_CONV, mode="default", dropout=0.0, grad_mult=1.0)
    norm = made.layers[0].norm
    assert isinstance(norm, nn.GroupNorm)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    return made


def mel(norm: str, convolutions: int = 2) -> MelFrontEnd:
    return MelFrontEnd(8, bins=20, convolutions=convolutions, norm=norm, dropout=0.0, grad_mult=1.0)


FRONT_ENDS = {
    "conv": conv,
    "utterance": lambda: mel("utterance"),
    "bin": lambda: mel("bin", 3),
    "none": lambda: mel("none", 1),
    "layer": lambda: ConvFrontEnd(TINY_CONV, mode="layer_norm", dropout=0.0, grad_mult=1.0),
}


def speech(samples: int) -> Tensor:
    """(1, S), louder in its second half, so that its parts have other statistics than the whole."""
    return 0.2 + torch.randn(1, samples) * torch.linspace(0.01, 0.5, samples)


def lengths(wavs: Tensor) -> Tensor:
    return torch.tensor([wavs.shape[1]])


def test_moments_of_parts_are_those_of_the_whole(seeded: None) -> None:
    x = 3 + torch.randn(2, 5, 100) * torch.linspace(0.1, 2, 100)
    whole = Moments.of(x, (0, 2))
    parts = [Moments.of(part, (0, 2)) for part in x.split((1, 29, 70), dim=2)]
    joined = parts[0].joined(parts[1]).joined(parts[2])
    assert joined.count == whole.count == 200 and joined.mean.dtype == torch.float64
    torch.testing.assert_close(joined.mean, x.double().mean((0, 2)), rtol=1e-6, atol=0)
    torch.testing.assert_close(joined.variance, x.double().var((0, 2), correction=0), rtol=1e-6, atol=0)
    assert Moments.of(x, (0, 1, 2)).mean.shape == ()


@pytest.mark.parametrize("name", FRONT_ENDS)
@pytest.mark.parametrize("normalises", [False, True])
def test_a_part_with_the_statistics_of_the_whole_is_a_part_of_the_whole(
    name: str, normalises: bool, seeded: None
) -> None:
    front = Front(FRONT_ENDS[name](), normalises)
    wavs = speech(2 * HALF * 320 + 237)
    whole, mask = front(wavs, lengths(wavs))
    samples = Moments.of(wavs, (0, 1))
    normed = samples.normalise(wavs, 1e-7) if normalises else wavs
    spans = front.front_end.normed_window is not None
    given = Statistics(samples, front.front_end.moments(normed) if spans else None)
    margin = front.front_end.margin_frames
    first = wavs[:, : (HALF + margin - 1) * 320 + 400]
    last = wavs[:, (HALF - margin) * 320 :]
    parts = [front(part, lengths(part), given)[0] for part in (first, last)]
    found = torch.cat((parts[0][:, :HALF], parts[1][:, margin:]), 1)
    assert found.shape == whole.shape and bool(mask.all())
    torch.testing.assert_close(found, whole, atol=1e-5, rtol=1e-5)
    if spans:
        alone = front(first, lengths(first))[0][:, :HALF]
        assert (alone - whole[:, :HALF]).abs().max() > 0.01  # its own statistics are others


@pytest.mark.parametrize("name", ["conv", "utterance", "bin"])
def test_given_statistics_leave_padding_zero(name: str, seeded: None) -> None:
    front_end = FRONT_ENDS[name]()
    wavs = torch.cat((speech(4_000), torch.nn.functional.pad(speech(2_000), (0, 2_000))))
    moments = front_end.moments(wavs[:1])
    features, mask = front_end(wavs, torch.tensor([4_000, 2_000]), moments)
    alone, _ = front_end(wavs[1:, :2_000], torch.tensor([2_000]), moments)
    assert mask.sum(1).tolist() == [12, 6]
    torch.testing.assert_close(features[1, :6], alone[0], atol=1e-5, rtol=1e-5)

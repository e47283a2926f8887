"""Log-mel front end: its energies against transformers' own, frame counts, padding, precision, gradients, silence."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers.audio_utils import mel_filter_bank, spectrogram

from s3prl_gendistiller.config import HUBERT_CONV_LAYERS
from s3prl_gendistiller.models.front_end import num_frames
from s3prl_gendistiller.models.mel import (
    FLOOR,
    HOP,
    NORMS,
    WINDOW,
    LogMel,
    MelFrontEnd,
    fft_points,
    mel_filters,
)


def front_end(**changes: object) -> MelFrontEnd:
    keys = {"bins": 20, "convolutions": 2, "norm": "utterance", "dropout": 0.0, "grad_mult": 1.0, **changes}
    return MelFrontEnd(8, **keys)


def speech(*samples: int) -> tuple[torch.Tensor, torch.Tensor]:
    lengths = torch.tensor(samples)
    wavs = torch.randn(len(samples), max(samples)) / 10
    return wavs * (torch.arange(max(samples)) < lengths.unsqueeze(1)), lengths


@pytest.mark.parametrize("bins", [40, 80, 128])
def test_the_filters_are_those_of_transformers(bins: int) -> None:
    fft = fft_points(bins)
    assert fft is not None
    expected = mel_filter_bank(fft // 2 + 1, bins, 0.0, 8000.0, 16_000, norm=None, mel_scale="htk")
    assert np.abs(mel_filters(bins, fft).numpy() - expected).max() < 1e-4  # its corners are rounded to float32


@pytest.mark.parametrize("by_convolution", [False, True])
@pytest.mark.parametrize("bins", [80, 128])
def test_the_energies_are_those_of_transformers(bins: int, by_convolution: bool) -> None:
    wav = torch.randn(4000) / 10
    mel = LogMel(bins)
    mel.by_convolution = by_convolution
    expected = spectrogram(
        wav.double().numpy(),
        np.hanning(WINDOW + 1)[:-1],
        frame_length=WINDOW,
        hop_length=HOP,
        fft_length=mel.fft,
        power=2.0,
        center=False,
        mel_filters=mel.filters.double().numpy(),
        mel_floor=0.0,
    ).T
    energies = mel(wav[None])[0].double().exp().numpy() - FLOOR
    assert (np.abs(energies - expected) < 1e-5 * expected.max(1, keepdims=True)).all()


def test_both_ways_to_the_spectrum_agree() -> None:
    wavs, _ = speech(20_000)
    mel = LogMel(80)
    by_transform = mel(wavs).exp()
    mel.by_convolution = True
    assert ((mel(wavs).exp() - by_transform).abs() < 1e-5 * by_transform.amax(-1, keepdim=True)).all()


@pytest.mark.parametrize("convolutions", [1, 2, 3])
def test_every_length_has_huberts_frames(convolutions: int) -> None:
    model = front_end(convolutions=convolutions)
    for samples in [*range(400, 1100), 15_999, 16_000, 16_001, 31_997]:
        expected = int(num_frames(torch.tensor([samples]), HUBERT_CONV_LAYERS))
        features, mask = model(torch.randn(1, samples), torch.tensor([samples]))
        assert features.shape[1] == mask.shape[1] == int(mask.sum()) == expected, samples


@pytest.mark.parametrize("norm", NORMS)
def test_no_frame_depends_on_padding_or_on_the_batch(norm: str) -> None:
    model = front_end(norm=norm, convolutions=3)
    wavs, lengths = speech(16_000, 5_000, 400)
    features, mask = model(wavs, lengths)
    longer, _ = model(torch.nn.functional.pad(wavs, (0, 3_333)), lengths)
    for index, samples in enumerate(lengths.tolist()):
        alone, alone_mask = model(wavs[index : index + 1, :samples], lengths[index : index + 1])
        frames = alone.shape[1]
        assert int(mask[index].sum()) == frames and bool(alone_mask.all())
        assert torch.allclose(features[index, :frames], alone[0], atol=1e-5)
        assert torch.allclose(longer[index, :frames], alone[0], atol=1e-5)
        assert not features[index, frames:].any()


def test_noise_behind_an_utterance_is_not_read() -> None:
    model = front_end()
    wavs, lengths = speech(8_000, 3_000)
    features, _ = model(wavs, lengths)
    wavs[1, 3_000:] = 1.0  # a mel frame that reaches beyond the end would read it
    noisy, mask = model(wavs, lengths)
    assert torch.equal(features[mask], noisy[mask])


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("level", [0.0, 1e-20, 1e4])
def test_silence_and_loudness_give_finite_numbers_and_gradients(norm: str, level: float) -> None:
    model = front_end(norm=norm)
    features, _ = model(torch.full((2, 1_000), level), torch.tensor([1_000, 400]))
    features.square().sum().backward()
    assert features.isfinite().all()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in model.parameters())


def test_loudness_does_not_matter_where_the_utterance_is_normalised() -> None:
    torch.manual_seed(0)
    wavs, lengths = speech(8_000)
    model = front_end()
    assert torch.allclose(model(wavs, lengths)[0], model(wavs * 3, lengths)[0], atol=1e-3)
    model = front_end(norm="none")
    assert not torch.allclose(model(wavs, lengths)[0], model(wavs * 3, lengths)[0], atol=1e-1)


def test_the_logarithm_is_taken_in_float32_whatever_the_precision() -> None:
    wavs, _ = speech(8_000)
    mel = LogMel(80)
    expected = mel(wavs)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(mel(wavs), expected)
    rounded = mel.bfloat16()(wavs.bfloat16())
    assert rounded.dtype == torch.float32 and rounded.isfinite().all()


def test_gradients_reach_the_convolutions_as_far_as_they_should() -> None:
    wavs, lengths = speech(8_000)
    gradients = []
    for factor in (1.0, 0.5, 0.0):
        torch.manual_seed(0)
        model = front_end(grad_mult=factor)
        features, _ = model(wavs, lengths)
        if factor == 0.0:
            assert not features.requires_grad
            continue
        features.sum().backward()
        gradients.append(model.convolutions[0].weight.grad)
    assert torch.allclose(gradients[0] * 0.5, gradients[1], rtol=1e-4)


def test_what_is_too_short_or_too_fine_is_refused() -> None:
    with pytest.raises(ValueError, match="found an utterance of 399 samples, expected at least one frame"):
        front_end()(torch.zeros(2, 800), torch.tensor([800, 399]))
    assert fft_points(80) == 512 and fft_points(128) == 1024 and fft_points(2000) is None
    with pytest.raises(ValueError, match="found 2000 mel bins"):
        LogMel(2000)


def test_nothing_of_the_spectrum_is_stored() -> None:
    assert all(name.startswith("convolutions.") for name in front_end().state_dict())

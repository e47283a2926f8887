from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import HubertConfig, HubertModel

from hubert.mfcc import mfcc


def wave(samples: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(samples, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("samples", [400, 719, 720, 16_000, 16_079, 16_080])
def test_there_is_a_row_for_each_frame_of_huberts_cnn(samples: int) -> None:
    shape = {"hidden_size": 16, "num_attention_heads": 1, "conv_dim": [4] * 7}
    model = HubertModel(HubertConfig(num_hidden_layers=0, **shape))
    frames = model.feature_extractor(wave(samples).unsqueeze(0)).shape[-1]
    assert mfcc(wave(samples)).shape == (frames, 39)


def test_coefficients_are_those_of_the_definition() -> None:
    """Frame by frame in float64, with scipy's cosine transform."""
    from scipy.fft import dct
    from transformers.audio_utils import mel_filter_bank

    wav = wave(2000).double().numpy()
    emphasised = np.append(wav[0], wav[1:] - 0.97 * wav[:-1])
    bands = mel_filter_bank(257, 40, 20.0, 8000.0, 16_000, mel_scale="kaldi")
    rows = []
    for start in range(0, len(wav) - 399, 160):
        spectrum = np.abs(np.fft.rfft(emphasised[start : start + 400] * np.hamming(400), 512)) ** 2
        rows.append(dct(np.log(spectrum @ bands), norm="ortho")[:13])
    slopes = [np.array(rows)]
    for _ in range(2):
        edged = np.pad(slopes[-1], ((2, 2), (0, 0)), mode="edge")
        moved = [edged[2 + n : 2 + n + len(rows)] for n in (-2, -1, 0, 1, 2)]
        slopes.append((2 * (moved[4] - moved[0]) + moved[3] - moved[1]) / 10)
    expected = np.concatenate(slopes, axis=1)[::2]
    np.testing.assert_allclose(mfcc(torch.from_numpy(wav)), expected - expected.mean(axis=0), atol=2e-3)


def test_loudness_does_not_matter() -> None:
    torch.testing.assert_close(mfcc(wave(8000)), mfcc(0.1 * wave(8000)), atol=1e-3, rtol=0)


def test_silence_is_finite() -> None:
    assert mfcc(torch.zeros(4000)).abs().max() < 1e-4

"""MFCC at HuBERT's frame rate, whose clusters are the units of the first round."""

from __future__ import annotations

import functools

import numpy as np
import torch
from torch import Tensor

from s3prl_gendistiller.distill.audio import SAMPLE_RATE

WINDOW, HOP, FFT = 400, 160, 512  # 25 ms and 10 ms
BANDS, COEFFICIENTS = 40, 13
DELTA_REACH = 2
PREEMPHASIS = 0.97
PER_FRAME = 2
"""MFCC frames per frame of HuBERT's CNN; the first frames of both cover the same 400 samples."""


def mfcc(wav: Tensor) -> Tensor:
    """13 cepstral coefficients with first and second differences, one row per frame of HuBERT's CNN.

    Args:
        wav: (S,) float at 16 kHz, at least 400 samples.

    Returns:
        (T, 39) float32, T = (S - 400) // 320 + 1; zero mean over the utterance.
    """
    wav = wav.float()
    wav = torch.cat([wav[:1], wav[1:] - PREEMPHASIS * wav[:-1]])
    frames = wav.unfold(0, WINDOW, HOP) * torch.hamming_window(WINDOW, periodic=False)  # (10 ms frames, 400)
    power = torch.fft.rfft(frames, FFT).abs().square()
    bands, cosines = _tables()
    cepstrum = (power @ bands).clamp(min=1e-10).log() @ cosines
    first = _slope(cepstrum)
    features = torch.cat([cepstrum, first, _slope(first)], dim=1)
    features = features[::PER_FRAME]
    return features - features.mean(dim=0)


@functools.cache
def _tables() -> tuple[Tensor, Tensor]:
    """Mel filters (257, 40) and the orthonormal cosine transform to the coefficients (40, 13)."""
    from transformers.audio_utils import mel_filter_bank

    bands = mel_filter_bank(FFT // 2 + 1, BANDS, 20.0, SAMPLE_RATE / 2, SAMPLE_RATE, mel_scale="kaldi")
    k, n = np.arange(COEFFICIENTS), np.arange(BANDS)[:, None]
    cosines = np.sqrt(2 / BANDS) * np.cos(np.pi / BANDS * (n + 0.5) * k)
    cosines[:, 0] /= np.sqrt(2)
    return torch.from_numpy(bands).float(), torch.from_numpy(cosines).float()


def _slope(series: Tensor) -> Tensor:
    """Slope of a regression over `DELTA_REACH` rows to each side; the first and the last row are repeated."""
    padded = torch.cat([series[:1].expand(DELTA_REACH, -1), series, series[-1:].expand(DELTA_REACH, -1)])
    slope, length = torch.zeros_like(series), len(series)
    for n in range(1, DELTA_REACH + 1):
        after, before = padded[DELTA_REACH + n :], padded[DELTA_REACH - n :]
        slope += n * (after[:length] - before[:length])
    return slope / (2 * sum(n * n for n in range(1, DELTA_REACH + 1)))

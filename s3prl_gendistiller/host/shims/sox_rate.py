"""The sox program's `rate` effect (its default, `-h`) in torch.

sox resamples with Kaiser-windowed sinc filters: one steep filter where the two rates form a small ratio,
otherwise a steep filter at the input rate (or twice that rate) and then a short interpolator. The constants below
were fitted to impulse responses of SoX v14.4.2. soxr, of the same family, differs from sox by up to 3e-3 (HQ) or
1e-2 (VHQ) for loud tones near the lower Nyquist frequency, and serves only pairs of rates that were not measured.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import soxr
import torch


@dataclass(frozen=True)
class Filter:
    """A Kaiser-windowed sinc; `half_width` in samples and `cutoff` in Nyquist units of one reference rate."""

    cutoff: float
    beta: float
    half_width: float


# Reference rate: the lower one of input and output.
# Filters by the larger side of the ratio, because sox rounds the number of taps at the raised rate.
STEEP = {
    larger_side: Filter(cutoff=0.95681386, beta=13.040, half_width=taps / larger_side / 2)
    for larger_side, taps in ((2, 389), (3, 581), (4, 777))
}
# Filters before a short interpolator: (times the rate is raised first, taps of the steep filter,
# interpolator). The interpolator's reference rate is that of the signal it reads.
WIDE = Filter(cutoff=0.909965, beta=14.15, half_width=7.0)
HALF_BAND = Filter(cutoff=0.911298, beta=14.02, half_width=8.0)
TWO_STAGES = {
    (44100, 16000): (1, 561, WIDE),
    (22050, 16000): (2, 561, WIDE),
    (11025, 16000): (2, 409, HALF_BAND),
}
LARGEST_UP, LARGEST_DOWN = 4, 3  # ratios found to pass through a single filter


def resample(samples: torch.Tensor, from_hz: int, to_hz: int) -> torch.Tensor:
    """Resamples along the last axis as `sox ... rate to_hz` does.

    float64 (C, S) at `from_hz` -> float64 (C, round(S * to_hz / from_hz)), not clipped.
    """
    if from_hz == to_hz or samples.shape[-1] == 0:
        return samples
    divisor = math.gcd(from_hz, to_hz)
    up, down = to_hz // divisor, from_hz // divisor
    length = math.floor(samples.shape[-1] * up / down + 0.5)
    if length == 0:
        return samples[:, :0]
    per_low = from_hz / min(from_hz, to_hz)  # input samples in one sample of the lower rate
    if up <= LARGEST_UP and down <= LARGEST_DOWN:
        return _steep(samples, STEEP[max(up, down)], per_low, up)[:, ::down][:, :length]
    if (from_hz, to_hz) in TWO_STAGES:
        first_up, taps, interpolator = TWO_STAGES[from_hz, to_hz]
        shape = Filter(cutoff=0.95681386, beta=13.711, half_width=taps / (per_low * first_up) / 2)
        # The ringing of the first filter before time 0 is dropped, because sox starts its second stage at 0.
        steep = _steep(samples, shape, per_low, first_up)
        return _interpolate(steep, interpolator, from_hz * first_up, to_hz, length)
    resampled = soxr.resample(samples.T.numpy(), from_hz, to_hz, quality="HQ")  # (S, C)
    return torch.from_numpy(np.ascontiguousarray(resampled.T))


def _windowed_sinc(time: torch.Tensor, shape: Filter) -> torch.Tensor:
    """The filter's value at `time`, in samples of its reference rate."""
    inside = (1 - (time / shape.half_width) ** 2).clamp(min=0)
    beta = torch.tensor(shape.beta, dtype=time.dtype)
    window = torch.special.i0(beta * inside.sqrt()) / torch.special.i0(beta)
    window = torch.where(time.abs() < shape.half_width, window, torch.zeros_like(window))
    return shape.cutoff * torch.sinc(shape.cutoff * time) * window


def _steep(samples: torch.Tensor, shape: Filter, per_low: float, up: int) -> torch.Tensor:
    """Raises the rate `up` times and filters; (C, S) -> (C, S * up + ringing), first sample at time 0."""
    reach = math.ceil(shape.half_width * per_low * up)
    time = torch.arange(-reach, reach + 1, dtype=samples.dtype) / (per_low * up)
    kernel = _windowed_sinc(time, shape) / per_low
    channels, length = samples.shape
    raised = samples.new_zeros(channels, length * up)
    raised[:, ::up] = samples
    size = 1 << (length * up + 2 * reach).bit_length()
    spectrum = torch.fft.rfft(raised, n=size) * torch.fft.rfft(kernel, n=size)
    return torch.fft.irfft(spectrum, n=size)[:, reach : length * up + 2 * reach]


def _interpolate(samples: torch.Tensor, shape: Filter, from_hz: int, to_hz: int, length: int) -> torch.Tensor:
    """Reads the signal at `length` instants of the output rate, one short filter per phase."""
    divisor = math.gcd(from_hz, to_hz)
    phases, step = to_hz // divisor, from_hz // divisor
    reach = math.ceil(shape.half_width)
    position = torch.arange(phases, dtype=samples.dtype)[:, None] * step / phases
    tap = torch.arange(-reach, step + reach + 1, dtype=samples.dtype)[None]
    kernels = _windowed_sinc(position - tap, shape)[:, None]  # (phases, 1, taps)
    blocks = -(-length // phases)
    missing = max(0, (blocks - 1) * step + kernels.shape[-1] - reach - samples.shape[-1])
    padded = torch.nn.functional.pad(samples, (reach, missing))[:, None]  # (C, 1, S)
    found = torch.nn.functional.conv1d(padded, kernels, stride=step)  # (C, phases, blocks or more)
    return found.transpose(1, 2).flatten(1)[:, :length]

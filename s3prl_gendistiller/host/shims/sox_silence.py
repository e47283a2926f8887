"""The sox program's `silence` effect: cuts samples whose level over the preceding 20 ms is too low."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

WINDOWS_PER_SECOND = 50
SILENT_FOREVER = -1


@dataclass(frozen=True)
class Periods:
    """`count` stretches of `duration_samples`, loud (or not) by a threshold in percent of full scale."""

    count: int
    duration_samples: int
    percent: float


def cut_silence(waveform: torch.Tensor, rate_hz: int, above: Periods, below: Periods | None) -> torch.Tensor:
    """Drops silence from the front and, with `below`, after it; (C, S) -> (C, at most S).

    Args:
        above: samples are dropped until `count` stretches without a silent sample have passed; the last of these
            stretches is kept. With count 0 the front stays.
        below: the `count`-th silent stretch and all that follows is dropped; with a negative count the search for
            sound starts again there. A shorter silence stays.
    """
    meter = _LoudnessMeter(waveform, rate_hz)
    kept: list[torch.Tensor] = []
    position = 0
    while 0 <= position < waveform.shape[1]:
        begin, end, position = _next_sound(meter, position, above, below)
        kept.append(waveform[:, begin:end])
    return torch.cat(kept, dim=1) if kept else waveform


def _next_sound(meter: _LoudnessMeter, origin: int, above: Periods, below: Periods | None) -> tuple[int, int, int]:
    """The next part to keep, as (begin, end), and the begin of the further search, or `SILENT_FOREVER`."""
    loudness = meter.percent_from(origin)  # (S - origin, C)
    length = len(loudness)
    begin = searched = 0
    if above.count:
        begin = _last_stretch(np.any(loudness >= above.percent, axis=1), above)
        searched = begin + max(1, above.duration_samples)
    end = length
    if below is not None and searched < length:
        end = searched + _last_stretch(np.any(loudness[searched:] < below.percent, axis=1), below)
    resume = SILENT_FOREVER
    if below is not None and below.count < 0 and end < length:
        resume = origin + end + max(1, below.duration_samples)
    return origin + begin, origin + end, resume


def _last_stretch(wanted: np.ndarray, periods: Periods) -> int:
    """Begin of the `count`-th unbroken stretch of wanted samples; the length if there are too few."""
    duration, missing = max(1, periods.duration_samples), abs(periods.count)
    edges = np.flatnonzero(np.diff(wanted, prepend=False, append=False))
    for begin, end in zip(edges[::2], edges[1::2], strict=True):
        stretches = (end - begin) // duration
        if stretches >= missing:
            return int(begin + (missing - 1) * duration)
        missing -= stretches
    return len(wanted)


class _LoudnessMeter:
    """Root mean square over a sliding window, in percent of full scale.

    The window is shared by the channels, as in sox: it holds the frames before the present one, less the
    oldest sample, plus the present sample of the one channel that is measured.
    """

    def __init__(self, waveform: torch.Tensor, rate_hz: int) -> None:
        self.squares = waveform.T.double().numpy() ** 2  # (S, C)
        self.window = max(1, int(rate_hz / WINDOWS_PER_SECOND))  # number of frames
        self.sums = np.concatenate([[0.0], np.cumsum(self.squares.sum(axis=1))])  # (S + 1,)

    def percent_from(self, origin: int) -> np.ndarray:
        """Loudness from sample `origin` on, as if silence preceded it; (S - origin, C)."""
        frames = np.arange(origin, len(self.squares))
        oldest = frames - self.window
        before = self.sums[frames] - self.sums[np.maximum(oldest, origin)]
        leaving = np.where(oldest >= origin, self.squares[np.maximum(oldest, 0), 0], 0.0)
        total = (before - leaving)[:, None] + self.squares[origin:]
        channels = self.squares.shape[1]
        return 100 * np.sqrt(np.maximum(total, 0) / (self.window * channels))

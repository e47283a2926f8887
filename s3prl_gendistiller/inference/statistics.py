"""The statistics that a front end takes over a whole utterance, from its samples in parts, in constant memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from s3prl_gendistiller.models.front_end import SAMPLES_EPS, Front
from s3prl_gendistiller.models.moments import Moments, Statistics

PART_SAMPLES = 1 << 16  # at a time: the first convolution of HuBERT takes 27 MB for them


class RunningStatistics:
    """Statistics of all samples so far.

    Args:
        front: of the student.
        samples: the moments of the samples if they are known; None: those of the samples so far.
        device: where the front end is.
    """

    def __init__(self, front: Front, samples: Moments | None = None, device: str = "cpu") -> None:
        self.front, self.device = front, device
        self._given = samples is not None
        self._samples = samples
        self._frames: Moments | None = None
        self._rest = torch.zeros(0)  # samples of the next normalised frame

    @torch.inference_mode()
    def add(self, samples: Tensor) -> None:
        """Counts the next samples (S,)."""
        for part in samples.split(PART_SAMPLES):
            if self.front.normalises and not self._given and len(part):
                self._samples = _both(self._samples, Moments.of(part, (0,)))
            if self.front.front_end.normed_window is not None:
                self._add_frames(torch.cat((self._rest, part)))

    def _add_frames(self, samples: Tensor) -> None:
        width, hop = self.front.front_end.normed_window
        count = max(0, (len(samples) - width) // hop + 1)
        self._rest = samples[count * hop :].clone()
        if not count:
            return
        whole = samples[: (count - 1) * hop + width].to(self.device)
        if self._samples is not None:
            whole = self._samples.normalise(whole, SAMPLES_EPS)
        self._frames = _both(self._frames, self.front.front_end.moments(whole.unsqueeze(0)))

    @property
    def statistics(self) -> Statistics:
        return Statistics(self._samples, self._frames)


def whole_statistics(front: Front, parts: Callable[[], Iterable[Tensor]], device: str = "cpu") -> Statistics:
    """The statistics of a whole utterance, which `parts()` gives in parts (S,), once for each norm that needs them."""
    samples = None
    if front.normalises:
        for part in parts():
            samples = _both(samples, Moments.of(part, (0,)))
    running = RunningStatistics(front, samples, device)
    if front.front_end.normed_window is not None:
        for part in parts():
            running.add(part)
    return running.statistics


def _both(before: Moments | None, new: Moments) -> Moments:
    return new if before is None else before.joined(new)

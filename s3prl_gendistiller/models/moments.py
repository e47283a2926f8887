"""Mean and variance of audio that is read in parts: what the norms over a whole utterance need to know beforehand.

With n, m and v the count, the mean and the variance of each of two parts a and b (Chan et al. 1979):

    n = n_a + n_b        m = m_a + d n_b / n        v = (n_a v_a + n_b v_b + d^2 n_a n_b / n) / n        d = m_b - m_a
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Moments:
    """Statistics of some numbers, or of the numbers of each channel.

    Attributes:
        count: how many numbers, of each channel.
        mean: float64, () or (C,).
        variance: divided by the count, as the mean.
    """

    count: int
    mean: Tensor
    variance: Tensor

    @classmethod
    def of(cls, x: Tensor, over: Sequence[int]) -> Moments:
        """The moments of a tensor over the dimensions `over`."""
        variance, mean = torch.var_mean(x, tuple(over), correction=0)
        return cls(x.numel() // mean.numel(), mean.double(), variance.double())

    def joined(self, other: Moments) -> Moments:
        """The moments of both parts together."""
        count = self.count + other.count
        share, difference = other.count / count, other.mean - self.mean
        mean = self.mean + difference * share
        variance = self.variance * (1 - share) + other.variance * share + difference.square() * share * (1 - share)
        return Moments(count, mean, variance)

    def normalise(self, x: Tensor, eps: float, dim: int = -1) -> Tensor:
        """x with these statistics taken as its own; the channels, if any, are its dimension `dim`."""
        shape = [1] * x.dim()
        shape[dim] = -1
        mean, scale = self.mean.view(shape), (self.variance + eps).rsqrt().view(shape)
        return (x - mean.to(x)) * scale.to(x)


@dataclass(frozen=True)
class Statistics:
    """The statistics that a front end takes over a whole utterance; None for a norm that it does not have.

    Attributes:
        samples: of the samples.
        frames: of what the front end normalises: the first convolution's channels, or log-mel energies.
    """

    samples: Moments | None = None
    frames: Moments | None = None

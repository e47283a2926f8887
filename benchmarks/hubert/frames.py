"""Samples and frames of HuBERT's CNN."""

from __future__ import annotations

import numpy as np

from s3prl_gendistiller.distill.audio import MIN_SAMPLES
from s3prl_gendistiller.models.upstream import FRAME_SAMPLES


def frames_of(samples: int | np.ndarray) -> int | np.ndarray:
    """Number of frames that HuBERT's CNN computes from a number of samples."""
    return (samples - MIN_SAMPLES) // FRAME_SAMPLES + 1


def samples_of(frames: int) -> int:
    """Smallest number of samples with so many frames."""
    return (frames - 1) * FRAME_SAMPLES + MIN_SAMPLES

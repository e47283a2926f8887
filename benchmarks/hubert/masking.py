"""Masks of the frames that the model predicts."""

from __future__ import annotations

import numpy as np


def span_mask(batch: int, frames: int, probability: float, length: int, rng: np.random.Generator) -> np.ndarray:
    """Mask of spans at random places, which may overlap, equally many in each row (HuBERT, section III-B; wav2vec 2.0).

    Args:
        probability: share of frames that would be masked if no two spans overlapped.
        length: of a span, in frames; rows shorter than two spans have spans of half their length.

    Returns:
        (batch, frames) bool, True where masked; in each row at least one frame is masked and one is not.
    """
    if frames < 2:
        raise ValueError(f"rows of {frames} frames; expected at least 2, one to mask and one to keep")
    length = max(1, min(length, frames // 2))
    starts = frames - length + 1
    count = min(max(1, int(probability * frames / length + rng.random())), starts)
    mask = np.zeros((batch, frames), bool)
    for row in mask:
        for start in rng.choice(starts, count, replace=False):
            row[start : start + length] = True
        if row.all():
            row[int(rng.integers(frames))] = False
    return mask

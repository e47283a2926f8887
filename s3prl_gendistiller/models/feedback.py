"""The history of a step in training: the layer that the student generated, or the teacher's in its place."""

from __future__ import annotations

import torch
from torch import Tensor


def history_of_step(own: Tensor, teacher: Tensor | None, probability: float) -> Tensor:
    """The history that follows a generated layer: (B, T, D).

    Args:
        own: (B, T, D), the generated layer.
        teacher: (B, T', D), the teacher's layer, whose missing frames the own layer fills; None: free running.
        probability: probability that the teacher's layer replaces the own one, for each utterance.
    """
    if teacher is None or probability <= 0.0:
        return own
    frames = min(own.shape[1], teacher.shape[1])
    forced = torch.cat((teacher[:, :frames].to(own.dtype), own[:, frames:]), dim=1)
    if probability >= 1.0:
        return forced
    chosen = torch.rand(len(own), 1, 1, device=own.device) < probability
    return torch.where(chosen, forced, own)

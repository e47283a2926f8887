"""Posteriors over the units of a teacher's layer: a student's head for them, and their way back into the student."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

HEAD_TEMPERATURE = 0.1  # divisor of the cosines, as in HuBERT


def float32_or_better(values: Tensor) -> Tensor:
    """float64 values as they are, others in float32: in bfloat16 an angle between frames is wrong by 0.005."""
    return values if values.dtype == torch.float64 else values.float()


def cosine_logits(frames: Tensor, embeddings: Tensor, temperature: float) -> Tensor:
    """Cosines of frames (..., E) and embeddings (V, E) over a temperature (HuBERT, equation 3): (..., V)."""
    frames, embeddings = (functional.normalize(float32_or_better(each), dim=-1) for each in (frames, embeddings))
    return frames @ embeddings.T / temperature


class UnitPosterior(nn.Module):
    """p = softmax of cosine logits of a generated layer h, and its mean embedding M^T p, which the next step reads.

    Objective `layer_units` trains the logits on the teacher's units of that layer.

    Args:
        width: D.
        units: V.
    """

    def __init__(self, width: int, units: int) -> None:
        super().__init__()
        self.projection = nn.Linear(width, width)
        self.embeddings = nn.Parameter(torch.randn(units, width))  # M, also those of the cosines

    def forward(self, h: Tensor) -> Tensor:
        """(..., D) -> logits (..., V)."""
        return cosine_logits(self.projection(h), self.embeddings, HEAD_TEMPERATURE)

    def mean_embedding(self, h: Tensor) -> Tensor:
        """M^T p, (..., D) -> (..., D)."""
        return torch.softmax(self(h), dim=-1).to(h.dtype) @ self.embeddings

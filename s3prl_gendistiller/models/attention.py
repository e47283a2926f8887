"""Self-attention over frames, with WavLM's gated relative position bias where it is kept."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

GATE_WIDTH = 8  # WavLM's gate sees eight numbers a head and frame, summed in two groups of four


class GatedPositionBias(nn.Module):
    """A learned bias per bucketed distance and head, scaled by a gate on the query (WavLM, arXiv 2110.13900, eq. 3-7).

    Args:
        heads: attention heads.
        head_width: D / heads.
        buckets: number of distance buckets; half for the past, half for the future.
        max_distance: frames from which on all distances share the last bucket.
    """

    def __init__(self, heads: int, head_width: int, *, buckets: int = 320, max_distance: int = 800) -> None:
        super().__init__()
        self.heads = heads
        self.buckets = buckets
        self.max_distance = max_distance
        self.relative_embedding = nn.Embedding(buckets, heads)
        self.gate = nn.Linear(head_width, GATE_WIDTH)
        self.gate_scale = nn.Parameter(torch.ones(1, heads, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, D), the layer's input, to an additive bias (B, heads, T, T)."""
        batch, frames, _ = x.shape
        position = torch.arange(frames, device=x.device)
        bias = self.relative_embedding(self._bucket(position - position.unsqueeze(1)))  # (T, T, heads)
        per_head = x.view(batch, frames, self.heads, -1).transpose(1, 2)  # (B, heads, T, D / heads)
        gates = torch.sigmoid(self.gate(per_head).view(batch, self.heads, frames, 2, -1).sum(-1))
        update, reset = gates.chunk(2, dim=-1)  # (B, heads, T, 1) each
        scale = update * (reset * self.gate_scale - 1.0) + 2.0
        return scale * bias.permute(2, 0, 1)

    def _bucket(self, distance: Tensor) -> Tensor:
        half = self.buckets // 2
        exact = half // 2  # short distances have a bucket each, long ones share logarithmic buckets
        size = distance.abs()
        ratio = torch.log(size.clamp(min=1).float() / exact) / math.log(self.max_distance / exact)
        shared = (exact + ratio * (half - exact)).long().clamp(max=half - 1)
        return torch.where(size < exact, size, shared) + (distance > 0).long() * half


class SelfAttention(nn.Module):
    """Multi-head self-attention in which padded frames are never attended to.

    Args:
        width: D.
        heads: attention heads; divides D.
        dropout: on the attention weights.
        position_bias: optional module (B, T, D) -> (B, heads, T, T).
    """

    def __init__(self, width: int, heads: int, *, dropout: float, position_bias: nn.Module | None = None) -> None:
        super().__init__()
        self.heads = heads
        self.dropout = dropout
        self.q_proj = nn.Linear(width, width)
        self.k_proj = nn.Linear(width, width)
        self.v_proj = nn.Linear(width, width)
        self.out_proj = nn.Linear(width, width)
        self.position_bias = position_bias

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """
        Args:
            x: (B, T, D).
            mask: (B, T), True = real frame; None when no frame is padded, which frees the fastest kernels.

        Returns:
            (B, T, D).
        """
        bias = None if mask is None else mask[:, None, None, :]  # (B, 1, 1, T)
        if self.position_bias is not None:
            relative = self.position_bias(x)
            bias = relative if bias is None else relative.masked_fill(~bias, torch.finfo(relative.dtype).min)
        y = nn.functional.scaled_dot_product_attention(
            self._split(self.q_proj(x)),
            self._split(self.k_proj(x)),
            self._split(self.v_proj(x)),
            attn_mask=bias,
            dropout_p=self.dropout if self.training else 0.0,
        )  # (B, heads, T, D / heads)
        return self.out_proj(y.transpose(1, 2).flatten(2))

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)

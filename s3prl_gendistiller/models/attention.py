"""Self-attention over the frames of one step or of several, with an optional gated relative position bias (WavLM).

Two-dimensional attention (arXiv 2310.13418) is causal over the N generated layers and free over their T frames: at step
n every frame attends to all real frames of steps 1..n. Each step attends to the keys and values of the earlier steps,
so that neither a matrix of (N T) x (N T) scores nor a mask of that size is needed.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.nn.functional import scaled_dot_product_attention
from torch.utils.checkpoint import checkpoint

from s3prl_gendistiller.models.exporting import is_exporting

KeyValues = tuple[Tensor, Tensor]  # keys and values of one step, each (B, heads, T, D / heads)

SCORES_AT_ONCE = 2**22  # scores in a block of queries, where dropout needs the scores in memory
GATE_WIDTH = 8  # numbers per head and frame in WavLM's gate, summed in two groups of four


class GatedPositionBias(nn.Module):
    """A learned bias per bucketed distance and head, scaled by a gate on the query (WavLM, arXiv 2110.13900, eq. 3-7).

    Args:
        heads: attention heads.
        head_width: D / heads.
        buckets: number of distance buckets; half for the past, half for the future.
        max_distance: distance in frames; all distances from this one on share the last bucket.
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
        dropout: dropout rate of the attention weights.
        position_bias: optional module (B, T, D) -> (B, heads, T, T); for attention within one step only.
        recomputed: the caller checkpoints the layer, so saved tensors are freed soon.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        *,
        dropout: float,
        position_bias: nn.Module | None = None,
        recomputed: bool = False,
    ) -> None:
        super().__init__()
        self.heads = heads
        self.dropout = dropout
        self.recomputed = recomputed
        self.q_proj, self.k_proj, self.v_proj, self.out_proj = (nn.Linear(width, width) for _ in range(4))
        self.position_bias = position_bias

    def forward(
        self,
        x: Tensor,
        mask: Tensor | None,
        earlier: Sequence[KeyValues] = (),
    ) -> tuple[Tensor, KeyValues]:
        """Output of the attention.

        Args:
            x: (B, T, D); or (B, N, T, D), N steps at once, each of which attends to itself and to the steps before it.
            mask: (B, T), True = real frame; None when no frame is padded, which allows the fastest kernels.
            earlier: keys and values of the steps before, to which this step attends as well.

        Returns:
            y of x's shape, and the keys and values of x, (B, heads, T, D / heads) or (B, N, heads, T, D / heads) each.
        """
        queries = self._split(self.q_proj(x))
        keys = self._split(self.k_proj(x))
        values = self._split(self.v_proj(x))
        attend = functools.partial(
            _attend, mask=mask, dropout=self.dropout if self.training else 0.0, recomputed=self.recomputed
        )
        if x.dim() == 4:
            steps = [*earlier, *zip(keys.unbind(1), values.unbind(1), strict=True)]
            seen = range(len(earlier) + 1, len(steps) + 1)
            y = torch.stack([attend(q, steps[:count]) for q, count in zip(queries.unbind(1), seen, strict=True)], dim=1)
        else:
            bias = None if self.position_bias is None else self.position_bias(x)
            y = attend(queries, [*earlier, (keys, values)], bias=bias)
        joined = y.transpose(-3, -2).flatten(-2)
        return self.out_proj(joined), (keys, values)

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(-3, -2)


def _attend(
    queries: Tensor,
    steps: Sequence[KeyValues],
    mask: Tensor | None,
    dropout: float,
    recomputed: bool,
    bias: Tensor | None = None,
) -> Tensor:
    """Attention of one step's queries (B, heads, T, d) over all frames of n steps; all steps have the mask (B, T).

    The memory for the backward pass grows linearly with T: the backward pass joins the steps to one sequence again, and
    on a CPU with dropout it computes the scores again. A single step may have a bias of the scores, (B, heads, T, T).
    """
    allowed = None if mask is None else mask[:, None, None, :].repeat(1, 1, 1, len(steps))  # (B, 1, 1, n T)
    if len(steps) == 1:
        if bias is not None:
            allowed = bias if allowed is None else bias.masked_fill(~allowed, torch.finfo(bias.dtype).min)
        return scaled_dot_product_attention(queries, *steps[0], attn_mask=allowed, dropout_p=dropout)
    if dropout > 0.0 and queries.device.type == "cpu":
        batch, heads, frames, _ = queries.shape
        block = max(1, SCORES_AT_ONCE // (batch * heads * len(steps) * frames))
        parts = [
            checkpoint(_attend_to_joined, part, steps, allowed, dropout, use_reentrant=False)
            for part in queries.split(block, dim=2)
        ]
        return torch.cat(parts, dim=2)
    return _attend_to_joined(queries, steps, allowed, dropout, join_again=not recomputed)


def _attend_to_joined(
    queries: Tensor, steps: Sequence[KeyValues], allowed: Tensor | None, dropout: float, join_again: bool = False
) -> Tensor:
    """Joins the steps to one sequence; with `join_again` the backward pass does so again, from the parts in memory."""
    keys, values = (torch.cat(parts, dim=2) for parts in zip(*steps, strict=True))  # (B, heads, n T, d)
    if not join_again or is_exporting():
        return scaled_dot_product_attention(queries, keys, values, attn_mask=allowed, dropout_p=dropout)
    parts_of = {joined.data_ptr(): [step[i].detach() for step in steps] for i, joined in enumerate((keys, values))}

    def pack(saved: Tensor) -> Tensor | list[Tensor]:
        return parts_of[saved.data_ptr()] if saved.data_ptr() in parts_of and saved.shape == keys.shape else saved

    def unpack(packed: Tensor | list[Tensor]) -> Tensor:
        return packed if isinstance(packed, Tensor) else torch.cat(packed, dim=2)

    with saved_tensors_hooks(pack, unpack):
        return scaled_dot_product_attention(queries, keys, values, attn_mask=allowed, dropout_p=dropout)

"""Attention of transformers' WavLM by torch's fused kernel.

transformers calls `multi_head_attention_forward` for the attention weights, which no student needs: the scores of all
pairs of frames, their softmax and their mean over the heads are written to memory in each layer. Here the gated
relative positions (arXiv 2110.13900) are an additive mask of `scaled_dot_product_attention`, the only array of that
size. transformers' HuBERT and wav2vec 2.0 use that function by themselves, and s3prl's own teachers do so through
torch, because they ask for no attention weights.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


def fuse_attention(model: nn.Module) -> None:
    """Puts the fused attention into a loaded model; its weights, their names and the library stay as they are.

    Models without WavLM's attention are left alone.
    """
    from transformers.models.wavlm.modeling_wavlm import WavLMAttention

    class FusedAttention(WavLMAttention):
        """WavLM's attention of one layer, without attention weights."""

        def forward(  # the signature varies between versions of transformers
            self,
            hidden_states: Tensor,
            attention_mask: Tensor | None = None,
            position_bias: Tensor | None = None,
            **others: Any,
        ) -> tuple[Tensor, None, Tensor]:
            """(B, T, D), mask (B, T), the first layer's bias (H, T, T) -> (B, T, D), None, (H, T, T)."""
            if position_bias is None:
                position_bias = self._distances(hidden_states.shape[1], hidden_states.device)
            bias = self._gates(hidden_states) * position_bias  # (B, H, T, T)
            if attention_mask is not None:
                bias = bias.masked_fill_(~attention_mask.bool()[:, None, None], -torch.inf)
            projections = (self.q_proj, self.k_proj, self.v_proj)
            query, key, value = (self._heads(project(hidden_states)) for project in projections)
            dropout = self.dropout if self.training else 0.0
            bias = bias.to(query.dtype)  # both differ where the projections run in another precision
            attended = nn.functional.scaled_dot_product_attention(query, key, value, bias, dropout)
            return self.out_proj(attended.transpose(1, 2).flatten(2)), None, position_bias

        def _distances(self, frames: int, device: torch.device) -> Tensor:
            """The bias of each distance, (H, T, T); some transformers compute the distances on the CPU, and wait."""
            position = torch.arange(frames, device=device)
            bias: Tensor = self.rel_attn_embed(self._relative_positions_bucket(position - position.unsqueeze(1)))
            return bias.permute(2, 0, 1)

        def _heads(self, x: Tensor) -> Tensor:  # (B, T, D) -> (B, H, T, D / H)
            return x.unflatten(2, (self.num_heads, -1)).transpose(1, 2)

        def _gates(self, hidden_states: Tensor) -> Tensor:
            """The factor of each frame and head on its relative positions, (B, H, T, 1)."""
            sums = self.gru_rel_pos_linear(self._heads(hidden_states)).unflatten(3, (2, 4)).sum(4)
            update, reset = torch.sigmoid(sums).chunk(2, dim=3)
            gates: Tensor = update * (reset * self.gru_rel_pos_const - 1.0) + 2.0
            return gates

    for module in model.modules():
        if type(module) is WavLMAttention:
            module.__class__ = FusedAttention

"""The transformer layer of wav2vec 2.0, HuBERT and WavLM; GenDistiller has one, which all steps share."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from s3prl_gendistiller.models.attention import GatedPositionBias, KeyValues, SelfAttention

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"gelu": nn.functional.gelu, "relu": nn.functional.relu}


class EncoderLayer(nn.Module):
    """Self-attention and a feed-forward network, each with dropout, residual connection and LayerNorm.

    Args:
        width: D.
        ffn_width: inner width of the feed-forward network.
        heads: attention heads.
        activation: "gelu" or "relu".
        norm_first: pre-norm (HuBERT Large) instead of post-norm (HuBERT Base).
        position_bias: "none" or "gated" (WavLM).
        recomputed: as in `SelfAttention`.
    """

    def __init__(
        self,
        width: int,
        ffn_width: int,
        heads: int,
        *,
        activation: str = "gelu",
        norm_first: bool = False,
        position_bias: str = "none",
        dropout: float = 0.1,
        attention_dropout: float = 0.1,
        activation_dropout: float = 0.1,
        recomputed: bool = False,
    ) -> None:
        super().__init__()
        bias = GatedPositionBias(heads, width // heads) if position_bias == "gated" else None
        self.attention = SelfAttention(
            width, heads, dropout=attention_dropout, position_bias=bias, recomputed=recomputed
        )
        self.attention_norm = nn.LayerNorm(width)
        self.ffn_in = nn.Linear(width, ffn_width)
        self.ffn_out = nn.Linear(ffn_width, width)
        self.ffn_norm = nn.LayerNorm(width)
        self.activation = ACTIVATIONS[activation]
        self.norm_first = norm_first
        self.dropout = nn.Dropout(dropout)
        self.activation_dropout = nn.Dropout(activation_dropout)
        for module in self.modules():
            if isinstance(module, nn.Linear):  # BERT's initialisation, as in fairseq
                nn.init.normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)

    def forward(
        self,
        x: Tensor,
        mask: Tensor | None,
        modulation: Tensor | None = None,
        earlier: Sequence[KeyValues] = (),
    ) -> tuple[Tensor, KeyValues]:
        """The layer's output, in the shape of x, and the keys and values of this step for later steps.

        Args:
            x, mask, earlier: as in `SelfAttention`.
            modulation: (2, 2, D), for the norm of the attention and the norm of the feed-forward network: a gain, to
                which one is added, and a shift; (2, 2, N, 1, D) for N steps at once.
        """
        of_attention, of_ffn = (None, None) if modulation is None else modulation
        if self.norm_first:
            attended, own = self.attention(_modulate(self.attention_norm(x), of_attention), mask, earlier)
            x = x + self.dropout(attended)
            return x + self.feed_forward(_modulate(self.ffn_norm(x), of_ffn)), own
        attended, own = self.attention(x, mask, earlier)
        x = _modulate(self.attention_norm(x + self.dropout(attended)), of_attention)
        return _modulate(self.ffn_norm(x + self.feed_forward(x)), of_ffn), own

    def feed_forward(self, x: Tensor) -> Tensor:
        """(..., D) -> (..., D), with dropout and without the residual connection."""
        return self.dropout(self.ffn_out(self.activation_dropout(self.activation(self.ffn_in(x)))))


def _modulate(x: Tensor, gain_and_shift: Tensor | None) -> Tensor:
    return x if gain_and_shift is None else torch.addcmul(gain_and_shift[1], x, 1 + gain_and_shift[0])

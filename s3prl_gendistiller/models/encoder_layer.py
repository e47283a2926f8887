"""The transformer layer of wav2vec 2.0, HuBERT and WavLM: one of it, shared by all steps, is the student's body."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from s3prl_gendistiller.models.attention import GatedPositionBias, SelfAttention

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
    ) -> None:
        super().__init__()
        bias = GatedPositionBias(heads, width // heads) if position_bias == "gated" else None
        self.attention = SelfAttention(width, heads, dropout=attention_dropout, position_bias=bias)
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

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """(B, T, D) to (B, T, D); `mask` (B, T) as in `SelfAttention`."""
        if self.norm_first:
            x = x + self.dropout(self.attention(self.attention_norm(x), mask))
            return x + self._feed_forward(self.ffn_norm(x))
        x = self.attention_norm(x + self.dropout(self.attention(x, mask)))
        return self.ffn_norm(x + self._feed_forward(x))

    def _feed_forward(self, x: Tensor) -> Tensor:
        return self.dropout(self.ffn_out(self.activation_dropout(self.activation(self.ffn_in(x)))))

"""The output layer of a GenDistiller, which turns the state of a step into a layer of the teacher, and its heads."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.functional import gelu

from s3prl_gendistiller.config_gendistiller import GenDistillerConfig


class MlpOutput(nn.Linear):
    """``W y + V gelu(U y)`` with U from D to 2 D and V back.

    The summand W y is the linear output layer. It may start as the identity and V starts at zero, so that training
    begins where that of a linear output layer begins: a student whose output starts at random loses more by that in a
    short training than any head gains (docs/ablation.md). W is learnt, unlike a residual connection, which would hold
    y in the teacher's coordinates.
    """

    def __init__(self, width: int) -> None:
        super().__init__(width, width)
        self.widened = nn.Linear(width, 2 * width)
        self.narrowed = nn.Linear(2 * width, width)

    def forward(self, y: Tensor) -> Tensor:
        """(B, T, D) to (B, T, D)."""
        return super().forward(y) + self.narrowed(gelu(self.widened(y)))


def build_output_layer(form: str, init: str, width: int) -> nn.Linear:
    """The output layer of the keys `output_form` and `output_init`."""
    layer = MlpOutput(width) if form == "mlp" else nn.Linear(width, width)
    if init == "identity":
        nn.init.eye_(layer.weight)
        nn.init.zeros_(layer.bias)
        if isinstance(layer, MlpOutput):
            nn.init.zeros_(layer.narrowed.weight)
            nn.init.zeros_(layer.narrowed.bias)
    return layer


def build_output(config: GenDistillerConfig) -> nn.Linear | None:
    """The output layer that all steps share; None where no step predicts a layer from its own state."""
    if not config.predicts_each_step:
        return None
    return build_output_layer(config.output_form, config.output_init, config.encoder_embed_dim)


def build_heads(config: GenDistillerConfig, count: int) -> nn.ModuleList | None:
    """Output layers of the last state, one for each of `count` target layers; None where steps predict alone."""
    if config.predicted_from == "step":
        return None
    form, init, width = config.output_form, config.output_init, config.encoder_embed_dim
    return nn.ModuleList(build_output_layer(form, init, width) for _ in range(count))

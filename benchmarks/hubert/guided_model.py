"""HuBERT with the heads of one phase: linear maps to a guide's layers, and predictions of units from several layers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from hubert.model import layer_states
from hubert.phases import PhaseConfig, PhasedRecipe
from s3prl_gendistiller.distill.units import UnitHead


def encode(hubert: Any, wavs: Tensor, mask: Tensor | None = None) -> list[Tensor]:
    """Input of the first layer and output of each layer: (B, S) samples -> (B, T, D) each.

    The parts of the HubertModel are called one by one: in training, a call of the whole model masks frames of its own
    choice where no mask is given, and waits for the GPU where one is.

    Args:
        mask: (B, T) bool, True on masked frames.
    """
    frames = hubert.feature_projection(hubert.feature_extractor(wavs).transpose(1, 2))
    if mask is not None:
        frames = torch.where(mask.unsqueeze(-1), hubert.masked_spec_embed.to(frames.dtype), frames)
    return layer_states(hubert.encoder, frames)


class GuidedModel(nn.Module):
    """Encoder and heads.

    Args:
        hubert: the encoder.
        guide_width: width of the guide's hidden states.
    """

    def __init__(self, hubert: Any, recipe: PhasedRecipe, phase: PhaseConfig, guide_width: int) -> None:
        super().__init__()
        self.hubert, self.phase = hubert, phase
        width = recipe.shape.hidden_size
        self.maps = nn.ModuleDict({str(layer): nn.Linear(width, guide_width) for layer in phase.imitate})
        self.heads = nn.ModuleDict(
            {
                str(layer): UnitHead(width, phase.clusters, recipe.unit_dim, recipe.temperature)
                for layer in phase.predicted_from
            }
        )

    def forward(
        self, wavs: Tensor, mask: Tensor | None, targets: Mapping[int, Tensor], units: Tensor | None
    ) -> dict[str, Tensor]:
        """
        Args:
            wavs: (B, S).
            mask: (B, T) bool, True on masked frames; None for no mask.
            targets: layer -> (B, T, guide's width), layer-normalised.
            units: (B, T) int64.

        Returns:
            "loss", and every part that is worth a line in the records.
        """
        states = encode(self.hubert, wavs, mask)
        report: dict[str, Tensor] = {}
        total = wavs.new_zeros(())
        for layer, linear in self.maps.items():
            error = (linear(states[int(layer)]).float() - targets[int(layer)].float()).square().mean()
            report[f"error_{layer}"] = error
            total = total + self.phase.imitate_weight * error / len(self.maps)
        for layer, head in self.heads.items():
            logits = head(states[int(layer)])
            assert units is not None
            losses = functional.cross_entropy(logits.flatten(0, 1), units.flatten(), reduction="none").view_as(units)
            hidden = torch.zeros_like(losses) if mask is None else mask.to(losses.dtype)
            weights = hidden + self.phase.seen_weight * (1 - hidden)
            total = total + (losses * weights).sum() / weights.sum().clamp(min=1e-6) / len(self.heads)
            right = (logits.argmax(-1) == units).to(losses.dtype)
            report[f"seen_accuracy_{layer}"] = (right * (1 - hidden)).sum() / (1 - hidden).sum().clamp(min=1)
            if mask is not None:
                report[f"masked_accuracy_{layer}"] = (right * hidden).sum() / hidden.sum().clamp(min=1)
        return {"loss": total, **report}

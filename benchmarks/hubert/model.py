"""HuBERT with the heads of one phase: linear maps to a guide's layers and to log-mel energies, and unit heads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from hubert.encoder import encode
from hubert.recipe import PhaseConfig, PhasedRecipe
from s3prl_gendistiller.distill.units import UnitHead
from s3prl_gendistiller.models.mel import LogMel

MEL_BINS = 80
_MEL_SCALE = 2.0  # brings the error of the energies near to that of hidden states of unit variance


class MelTargets(nn.Module):
    """Log-mel energies of each frame's window, without the loudness of the crop, which HuBERT's first norm removes."""

    def __init__(self) -> None:
        super().__init__()
        self.mel = LogMel(MEL_BINS)

    @torch.no_grad()
    def forward(self, wavs: Tensor) -> Tensor:
        """(B, S) samples -> (B, T, `MEL_BINS`) float32; every second window of 25 ms is that of a HuBERT frame."""
        energies: Tensor = self.mel(wavs)[:, ::2]
        return (energies - energies.mean((1, 2), keepdim=True)) / _MEL_SCALE


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
        self.mel_maps = nn.ModuleDict({str(layer): nn.Linear(width, MEL_BINS) for layer in phase.mel_from})
        self.heads = nn.ModuleDict(
            {
                str(layer): UnitHead(width, phase.clusters, recipe.unit_dim, recipe.temperature)
                for layer in phase.predicted_from
            }
        )

    def forward(
        self,
        wavs: Tensor,
        mask: Tensor | None,
        targets: Mapping[int, Tensor],
        units: Tensor | None = None,
        mels: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """
        Args:
            wavs: (B, S).
            mask: (B, T) bool, True on masked frames; None for no mask.
            targets: layer -> (B, T, guide's width), layer-normalised.
            units: (B, T) int64.
            mels: (B, T, `MEL_BINS`), of `MelTargets`.

        Returns:
            "loss", and every part that is worth a line in the records.
        """
        states = encode(self.hubert, wavs, mask)
        report: dict[str, Tensor] = {}
        total = wavs.new_zeros(())
        regressed = (
            ("error", self.maps, targets, self.phase.imitate_weight),
            ("mel_error", self.mel_maps, {layer: mels for layer in self.phase.mel_from}, self.phase.mel_weight),
        )
        for name, maps, wanted, weight in regressed:
            for layer, linear in maps.items():
                target = wanted[int(layer)]
                assert target is not None
                error = (linear(states[int(layer)]).float() - target.float()).square().mean()
                report[f"{name}_{layer}"] = error
                total = total + weight * error / len(maps)
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

"""HuBERT with the head that predicts units, which transformers lacks."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from hubert.recipe import HubertRecipe, ShapeConfig
from s3prl_gendistiller.distill.units import UnitHead


class Prediction(NamedTuple):
    """Mean cross-entropy and accuracy, on masked frames and on the others."""

    masked_loss: Tensor
    seen_loss: Tensor
    masked_accuracy: Tensor
    seen_accuracy: Tensor


class MaskedUnitModel(nn.Module):
    """Encoder and head, in the precision of the recipe."""

    def __init__(self, recipe: HubertRecipe, clusters: int) -> None:
        super().__init__()
        self.low_precision = recipe.precision == "bfloat16"
        self.hubert = build_hubert(recipe.shape)
        self.head = UnitHead(recipe.shape.hidden_size, clusters, recipe.unit_dim, recipe.temperature)

    def forward(self, inputs: Tensor, units: Tensor, mask: Tensor) -> Prediction:
        """
        Args:
            inputs: samples (B, S), or their `cnn_frames` (B, T, C).
            units: (B, T) int64.
            mask: (B, T) bool, True on masked frames.
        """
        with self._precision():
            logits = self.head(self._encode(inputs, mask))
            loss = functional.cross_entropy(logits.flatten(0, 1), units.flatten(), reduction="none").view_as(units)
        right = (logits.argmax(-1) == units).float()
        return Prediction(loss[mask].mean(), loss[~mask].mean(), right[mask].mean(), right[~mask].mean())

    def _encode(self, inputs: Tensor, mask: Tensor) -> Tensor:
        states: Tensor
        if inputs.dim() == 2:
            states = self.hubert(inputs, mask_time_indices=mask).last_hidden_state
        else:
            frames = self.hubert.feature_projection(inputs)
            hidden = torch.where(mask.unsqueeze(-1), self.hubert.masked_spec_embed.to(frames.dtype), frames)
            states = self.hubert.encoder(hidden).last_hidden_state
        return states

    @torch.no_grad()
    def cnn_frames(self, wav: Tensor) -> Tensor:
        """Frames of the CNN for one utterance (S,), before their projection: (T, C)."""
        with self._precision():
            frames: Tensor = self.hubert.feature_extractor(wav.unsqueeze(0))[0].transpose(0, 1)
        return frames

    @torch.no_grad()
    def hidden_states(self, inputs: Tensor) -> list[Tensor]:
        """Input of the first layer and output of each layer, (T, D), for one utterance without a mask.

        Args:
            inputs: samples (S,), or their `cnn_frames` (T, C).
        """
        with self._precision():
            if inputs.dim() == 1:
                output: Any = self.hubert(inputs.unsqueeze(0), output_hidden_states=True)
                states = output.hidden_states
            else:
                states = layer_states(self.hubert.encoder, self.hubert.feature_projection(inputs.unsqueeze(0)))
        return [state[0] for state in states]

    def _precision(self) -> torch.autocast:
        return torch.autocast("cpu", torch.bfloat16, enabled=self.low_precision)


def build_hubert(shape: ShapeConfig) -> Any:
    """A HubertModel of random weights."""
    from transformers import HubertConfig, HubertModel

    return HubertModel(HubertConfig(**shape.transformers_config()))


def layer_states(encoder: Any, projected: Tensor) -> list[Tensor]:
    """Input of the first layer and output of each layer, from projected frames: (B, T, D) -> (B, T, D) each.

    transformers lists hidden states only for calls of the whole model.
    """
    states = [encoder.layer_norm(projected + encoder.pos_conv_embed(projected))]
    for layer in encoder.layers:
        output = layer(states[-1])
        states.append(output[0] if isinstance(output, tuple) else output)
    return states

"""A HuBERT of random weights, and the hidden states of all its layers."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from hubert.recipe import ShapeConfig


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

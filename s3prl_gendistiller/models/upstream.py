"""A student as an upstream of s3prl: its settings and its output."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from s3prl_gendistiller.documents import parse_yaml
from s3prl_gendistiller.errors import ConfigError, UserError
from s3prl_gendistiller.models.student import Student
from s3prl_gendistiller.schema import from_dict, key, read_layered_yaml

FRAME_SAMPLES = 320  # 20 ms at 16 kHz
CONFIG, WEIGHTS, GRAPH = "config.json", "model.safetensors", "model.onnx"  # of the folder of an exported student


@dataclass(frozen=True)
class GenerationConfig:
    """The model config (``-g``) of a trained student."""

    steps: int | None = key(None, low=1)  # number of layers that are generated; None for all


def read_generation(source: str | Path | None) -> GenerationConfig:
    """The settings in a YAML file, or in YAML text (``steps: 2``).

    Raises:
        UserError: `source` is neither, or holds another key.
    """
    if source is None:
        return GenerationConfig()
    if os.path.exists(source) or ":" not in str(source):
        return from_dict(GenerationConfig, read_layered_yaml(source), str(source))
    try:
        return from_dict(GenerationConfig, parse_yaml(str(source), "-g"), "-g")
    except ConfigError:
        raise
    except UserError as error:
        raise UserError(f"-g: found {str(source)!r}, expected a YAML file, or YAML such as 'steps: 2'") from error


def upstream_output(student: Student, wavs: Sequence[Tensor], steps: int | None) -> dict[str, Any]:
    """The dictionary from which s3prl's Featurizer chooses.

    Args:
        wavs: unpadded utterances, each (S,) at 16 kHz.
        steps: number of layers to generate; None for all.

    Returns:
        "hidden_states": [z, h_1, ..., h_k], each (B, T, D); "last_hidden_state": h_k. A student with layers that are
        no predictions, such as DistilHuBERT, also has "paper", the last of them, under s3prl's name for it. Where the
        student ignores padding, frames behind an utterance repeat its last one.
    """
    lengths = torch.tensor([len(wav) for wav in wavs])
    output = student(pad_sequence(list(wavs), batch_first=True), lengths, steps=steps)
    states = output.hidden_states
    if student.ignores_padding and int(lengths.min()) < int(lengths.max()):
        states = [_with_last_repeated(state, output.frame_mask) for state in states]
    found: dict[str, Any] = {"hidden_states": states, "last_hidden_state": states[-1]}
    layers = states[1 : -output.num_predicted]
    return {**found, "paper": layers[-1]} if layers else found


def _with_last_repeated(states: Tensor, mask: Tensor) -> Tensor:
    """(B, T, D) whose frames outside the mask (B, T) repeat the last real frame of their utterance.

    s3prl counts one frame for every 320 samples that have begun, up to two more than there are. It repeats the last
    frame of the longest utterance itself, and would take those of the others from the padding.
    """
    last = states[torch.arange(len(states), device=states.device), mask.sum(1) - 1]  # (B, D)
    return torch.where(mask.unsqueeze(-1), states, last.unsqueeze(1))

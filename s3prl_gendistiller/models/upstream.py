"""A student behind s3prl's upstream contract, shared by every way in which s3prl loads it."""

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
from s3prl_gendistiller.models.gendistiller import GenDistiller
from s3prl_gendistiller.models.student import Student
from s3prl_gendistiller.schema import from_dict, key, read_layered_yaml

FRAME_SAMPLES = 320  # 20 ms at 16 kHz


@dataclass(frozen=True)
class GenerationConfig:
    """The model config (``-g``) of a trained student.

    Attributes:
        steps: generate only the first layers: fewer steps, less time; None for all.
    """

    steps: int | None = key(None, low=1)


def read_generation(source: str | Path | None) -> GenerationConfig:
    """From a YAML file, or from such YAML itself (``steps: 2``).

    Raises:
        UserError: it is neither, or holds anything else.
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
    """What s3prl's Featurizer chooses from.

    Args:
        wavs: unpadded utterances, each (S,) at 16 kHz.
        steps: how many layers to generate; None for all.

    Returns:
        "hidden_states": [z, h_1, ..., h_k], each (B, T, D); "last_hidden_state": h_k. Of a DistilHuBERT, as s3prl has
        it, also "paper": its last layer, which is no prediction.
    """
    lengths = torch.tensor([len(wav) for wav in wavs], device=wavs[0].device)
    output = student(pad_sequence(list(wavs), batch_first=True), lengths, steps=steps)
    states = output.hidden_states
    found = {"hidden_states": states, "last_hidden_state": states[-1]}
    return found if isinstance(student, GenDistiller) else {**found, "paper": states[-1 - output.num_predicted]}

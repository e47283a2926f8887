"""The functions of `torchaudio.sox_effects`, built on `host.sox_effects` and soundfile."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import BinaryIO

import torch

from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.host import sox_effects
from s3prl_gendistiller.host.shims import audio_files


def apply_effects_tensor(
    tensor: torch.Tensor, sample_rate: int, effects: Sequence[Sequence[str]], channels_first: bool = True
) -> tuple[torch.Tensor, int]:
    """Applies sox effects to (C, S) float32, or (S, C) without `channels_first`; returns the result and its rate."""
    waveform, rate_hz = sox_effects.apply_effects(tensor if channels_first else tensor.T, sample_rate, effects)
    return (waveform if channels_first else waveform.T), rate_hz


def apply_effects_file(
    path: str | os.PathLike[str] | BinaryIO,
    effects: Sequence[Sequence[str]],
    normalize: bool = True,
    channels_first: bool = True,
    format: str | None = None,
) -> tuple[torch.Tensor, int]:
    """Reads a file and applies sox effects; returns float32 (C, S), or (S, C), and its rate.

    UserError: an effect is not supported, the file cannot be read, or `normalize` is False.
    """
    if not normalize:
        raise UserError("apply_effects_file: found normalize=False, which is not supported; expected True")
    waveform, rate_hz = audio_files.load(path, channels_first=channels_first, format=format)
    return apply_effects_tensor(waveform, rate_hz, effects, channels_first=channels_first)

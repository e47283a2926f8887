"""The interface of HEAR (Holistic Evaluation of Audio Representations, arXiv 2203.03022), a module of three functions.

    hear-validator s3prl_gendistiller.integrations.hear --model result/pretrain/my_student

HEAR gives clips of one length in a batch, at the rate that the model states, and trains its own layers on the
embeddings.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.integrations.frames import FIRST_CENTRE_MS, FRAME_MS, StudentFrames
from s3prl_gendistiller.models.waveforms import SAMPLE_RATE


class HearModel(StudentFrames):
    """`StudentFrames` with the attributes that HEAR reads."""

    sample_rate = SAMPLE_RATE

    @property
    def scene_embedding_size(self) -> int:
        return self.width

    @property
    def timestamp_embedding_size(self) -> int:
        return self.width


def load_model(model_file_path: str | Path = "", *, steps: int | None = None, layer: int | None = None) -> HearModel:
    """The student at a place that `load_student` takes; `steps` and `layer` as of `StudentFrames`.

    Raises:
        UserError: no place is given, it is missing or holds no student, or a setting is out of range.
    """
    if not str(model_file_path):
        raise UserError(
            "model_file_path: found nothing, expected a checkpoint, the folder of a run or an exported student; "
            "name it as the model"
        )
    return HearModel(model_file_path, steps=steps, layer=layer)


def get_timestamp_embeddings(audio: Tensor, model: HearModel) -> tuple[Tensor, Tensor]:
    """Embeddings of all frames, and the middle of each frame.

    Args:
        audio: (B, S) samples at 16 kHz between -1 and 1.

    Returns:
        (B, T, D) float32, and (B, T) in milliseconds: 12.5, 32.5, 52.5 and so on.

    Raises:
        WaveformError: as of `StudentFrames`.
    """
    frames = model(audio)
    times = FIRST_CENTRE_MS + FRAME_MS * torch.arange(frames.shape[1], device=frames.device)
    return frames, times.expand(len(frames), -1)


def get_scene_embeddings(audio: Tensor, model: HearModel) -> Tensor:
    """One embedding (B, D) for each clip of `audio` (B, S), the mean over its frames; errors as above."""
    embeddings: Tensor = model(audio).mean(1)
    return embeddings

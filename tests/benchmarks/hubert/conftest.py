from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import soundfile

from hubert.recipe import ShapeConfig
from s3prl_gendistiller.distill.audio import SAMPLE_RATE
from s3prl_gendistiller.distill.manifest import Utterance

SHAPE = ShapeConfig(
    hidden_size=16,
    num_hidden_layers=2,
    num_attention_heads=2,
    intermediate_size=32,
    conv_dim=8,
    num_conv_pos_embeddings=8,
    num_conv_pos_embedding_groups=2,
)


class Speech(NamedTuple):
    """Utterances for training and for validation."""

    train: list[Utterance]
    valid: list[Utterance]


def write_tones(folder: Path, count: int) -> list[Utterance]:
    """Clips of 0.5 to 1.4 s, each of a few tones one after the other in noise."""
    rng = np.random.default_rng(count)
    found = []
    folder.mkdir(parents=True)
    for number in range(count):
        pieces = [
            np.sin(2 * np.pi * pitch * np.arange(4000 + 700 * number % 5000) / SAMPLE_RATE)
            for pitch in rng.choice((300, 900, 2500), 2)
        ]
        wav = 0.3 * np.concatenate(pieces) + 0.01 * rng.standard_normal(sum(map(len, pieces)))
        path = folder / f"{number}.wav"
        soundfile.write(path, wav, SAMPLE_RATE)
        found.append(Utterance(path, len(wav), f"row {number}"))
    return found


@pytest.fixture(scope="session")
def speech(tmp_path_factory: pytest.TempPathFactory) -> Speech:
    folder = tmp_path_factory.mktemp("tones")
    return Speech(write_tones(folder / "train", 12), write_tones(folder / "valid", 3))

"""ONNX folders of tiny students, each written once, and recordings to calibrate with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from s3prl_gendistiller.export.card import Card
from s3prl_gendistiller.export.onnx_folder import write_onnx
from s3prl_gendistiller.export.onnx_int8 import write_onnx_int8
from tests.export.test_hub_folder import MEL, save

CARD = Card("mine", 123_456, 0.5, 8)
OLD_TORCH = tuple(map(int, torch.__version__.split(".")[:2])) < (2, 9)
"""Whether this torch cannot write ONNX; what needs a written folder is left out then."""


def write_speech(folder: Path, count: int = 4, seconds: float = 6.0) -> Path:
    """Recordings of noise whose loudness and colour change as those of speech do."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(0)
    times = np.arange(int(seconds * 16_000)) / 16_000
    for number in range(count):
        noise = random.standard_normal(len(times)).cumsum() * 0.01 + random.standard_normal(len(times))
        loudness = np.sin(2 * np.pi * (2 + number) * times) ** 2
        wav = noise - np.convolve(noise, np.ones(99) / 99, "same")
        soundfile.write(folder / f"{number}.wav", 0.1 * wav * loudness / np.abs(wav).max(), 16_000)
    return folder


@pytest.fixture(scope="session")
def conv_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("conv") / "x.ckpt", history_input="carry")


@pytest.fixture(scope="session")
def conv_folder(conv_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A student of HuBERT's convolutions, as ONNX in float."""
    folder = tmp_path_factory.mktemp("onnx") / "conv"
    write_onnx(conv_checkpoint, folder, CARD)
    return folder


@pytest.fixture(scope="session")
def mel_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("mel") / "x.ckpt", **MEL, mel_norm="none", history="all")


@pytest.fixture(scope="session")
def int8_folder(mel_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A student of log-mel energies, as ONNX with whole numbers and two of its three layers."""
    folder = tmp_path_factory.mktemp("onnx") / "int8"
    write_onnx_int8(mel_checkpoint, folder, CARD, 2, calibration=write_speech(folder.parent / "speech"))
    return folder

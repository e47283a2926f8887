"""Audio through soundfile under torchaudio's names."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.host.shims import audio_files


@pytest.fixture
def wave(tmp_path: Path) -> Path:
    """1000 stereo samples at 8 kHz."""
    path = tmp_path / "wave.wav"
    samples = 0.5 * np.sin(np.arange(2000).reshape(1000, 2) / 9)
    soundfile.write(path, samples, 8000, subtype="PCM_16")
    return path


def test_load_gives_torchaudios_shapes_and_types(wave):
    waveform, rate_hz = audio_files.load(wave)
    assert (waveform.shape, waveform.dtype, rate_hz) == ((2, 1000), torch.float32, 8000)
    part, _ = audio_files.load(str(wave), frame_offset=100, num_frames=50)
    assert torch.equal(part, waveform[:, 100:150])
    assert audio_files.load(wave, frame_offset=2000)[0].shape == (2, 0)
    last, _ = audio_files.load(io.BytesIO(wave.read_bytes()), channels_first=False)
    assert torch.equal(last.T, waveform)
    integers, _ = audio_files.load(wave, normalize=False)
    assert integers.dtype == torch.int16
    assert torch.equal(integers.float() / 32768, waveform)


@pytest.mark.parametrize(
    ("suffix", "encoding", "bits"),
    [("wav", "PCM_S", 16), ("flac", "FLAC", 16), ("ogg", "VORBIS", 0), ("mp3", "MP3", 0)],
)
def test_every_format_is_read_with_its_metadata(tmp_path, suffix, encoding, bits):
    path = tmp_path / f"sound.{suffix}"
    soundfile.write(path, 0.5 * np.sin(np.arange(16000) / 9), 16000)
    told = audio_files.info(path)
    assert (told.sample_rate, told.num_channels, told.encoding, told.bits_per_sample) == (
        16000,
        1,
        encoding,
        bits,
    )
    waveform, _ = audio_files.load(path)
    assert waveform.shape == (1, told.num_frames)
    assert 0.4 < float(waveform.abs().max()) < 0.6
    with path.open("rb") as file:
        assert torch.equal(audio_files.load(file)[0], waveform)


@pytest.mark.parametrize(
    ("kind", "options", "kept"),
    [
        (torch.float32, {}, ("PCM_F", 32)),
        (torch.int16, {}, ("PCM_S", 16)),
        (torch.float32, {"encoding": "PCM_S", "bits_per_sample": 16}, ("PCM_S", 16)),
        (torch.float32, {"bits_per_sample": 24}, ("PCM_S", 24)),
        (torch.float32, {"encoding": "ULAW", "bits_per_sample": 8}, ("ULAW", 8)),
    ],
)
def test_saved_audio_comes_back(tmp_path, kind, options, kept):
    path = tmp_path / "saved.wav"
    waveform = torch.linspace(-0.5, 0.5, 400).reshape(2, 200)
    audio_files.save(path, waveform if kind.is_floating_point else (waveform * 32768).to(kind), 16000, **options)
    told = audio_files.info(path)
    assert (told.encoding, told.bits_per_sample) == kept
    assert torch.allclose(audio_files.load(path)[0], waveform, atol=0.02)


def test_unreadable_audio_is_named(tmp_path):
    with pytest.raises(UserError, match="nothing.wav: no such audio file"):
        audio_files.load(tmp_path / "nothing.wav")
    (tmp_path / "words.wav").write_text("not audio")
    with pytest.raises(UserError, match="words.wav: not an audio file"):
        audio_files.info(tmp_path / "words.wav")

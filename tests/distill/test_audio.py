from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
import torch

from s3prl_gendistiller.distill import audio
from s3prl_gendistiller.distill.audio import MIN_SAMPLES, Measured, audio_blocks, audio_frames, measured, read_audio
from s3prl_gendistiller.errors import UserError

Reader = Callable[[Path], object]


def tone(samples: int, rate_hz: int = 16000, hz: float = 440.0) -> np.ndarray:
    return (0.3 * np.sin(2 * np.pi * hz * np.arange(samples) / rate_hz)).astype(np.float32)


def test_wav_comes_back_as_written(tmp_path: Path) -> None:
    wav = tone(5000)
    soundfile.write(tmp_path / "a.wav", wav, 16000, subtype="FLOAT")
    read = read_audio(tmp_path / "a.wav")
    assert read.dtype == torch.float32
    assert read.shape == (5000,)
    assert torch.equal(read, torch.from_numpy(wav))


def test_stereo_is_averaged(tmp_path: Path) -> None:
    left, right = tone(4000), tone(4000, hz=300.0)
    soundfile.write(tmp_path / "a.wav", np.stack([left, right], axis=1), 16000, subtype="FLOAT")
    torch.testing.assert_close(read_audio(tmp_path / "a.wav"), torch.from_numpy((left + right) / 2))


@pytest.mark.parametrize("rate_hz", [8000, 11025, 22050, 44100, 48000])
def test_other_rates_are_resampled(tmp_path: Path, rate_hz: int) -> None:
    soundfile.write(tmp_path / "a.flac", tone(rate_hz, rate_hz), rate_hz)
    read = read_audio(tmp_path / "a.flac")
    assert read.shape == (16000,)
    middle = slice(1000, -1000)
    assert np.abs(read.numpy() - tone(16000))[middle].max() < 2e-3


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3"])
@pytest.mark.parametrize("rate_hz", [16000, 22050, 44100, 48000])
@pytest.mark.parametrize("samples", [4001, 30013])
def test_stated_length_is_the_length_that_is_read(tmp_path: Path, suffix: str, rate_hz: int, samples: int) -> None:
    path = tmp_path / f"a.{suffix}"
    soundfile.write(path, tone(samples, rate_hz), rate_hz)
    assert audio_frames(path) == len(read_audio(path))


def test_mp3_cut_short_is_measured_by_what_can_be_decoded(tmp_path: Path) -> None:
    path = tmp_path / "a.mp3"
    soundfile.write(path, tone(80000), 16000)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    assert soundfile.info(path).frames == 80000
    assert audio_frames(path) == len(read_audio(path)) < 60000


@pytest.mark.parametrize("read", [read_audio, audio_frames])
def test_flac_without_a_stated_length_is_named(tmp_path: Path, read: Reader) -> None:
    path = tmp_path / "a.flac"
    soundfile.write(path, tone(20000), 16000)
    data = bytearray(path.read_bytes())
    # STREAMINFO: the number of samples is the low 36 bits of bytes 18 to 25; zero means unknown.
    data[21] &= 0xF0
    data[22:26] = bytes(4)
    path.write_bytes(data)
    with pytest.raises(UserError, match=r"a\.flac: its header states no length, .* encode it again"):
        read(path)


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3"])
@pytest.mark.parametrize("rate_hz", [16000, 22050])
def test_window_equals_the_same_piece_of_the_whole(tmp_path: Path, suffix: str, rate_hz: int) -> None:
    path = tmp_path / f"a.{suffix}"
    noise = 0.1 * np.random.default_rng(0).standard_normal(60000)
    soundfile.write(path, noise, rate_hz)
    whole = read_audio(path)
    assert torch.equal(read_audio(path, start=12345, num_samples=6789), whole[12345 : 12345 + 6789])


def test_window_past_the_end_moves_back(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", tone(5000), 16000)
    whole = read_audio(tmp_path / "a.wav")
    assert torch.equal(read_audio(tmp_path / "a.wav", start=4900, num_samples=400), whole[-400:])
    assert torch.equal(read_audio(tmp_path / "a.wav", start=10, num_samples=9000), whole)


def test_one_frame_is_enough(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", tone(MIN_SAMPLES), 16000)
    assert audio_frames(tmp_path / "a.wav") == len(read_audio(tmp_path / "a.wav")) == MIN_SAMPLES


def test_silence_is_audio(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros(1000, np.float32), 16000)
    assert not read_audio(tmp_path / "a.wav").any()


@pytest.mark.parametrize("read", [read_audio, audio_frames])
def test_missing_file_is_named(tmp_path: Path, read: Reader) -> None:
    with pytest.raises(UserError, match=r"gone\.wav: no such file; expected audio"):
        read(tmp_path / "gone.wav")


@pytest.mark.parametrize("read", [read_audio, audio_frames])
def test_empty_file_is_named(tmp_path: Path, read: Reader) -> None:
    (tmp_path / "a.wav").touch()
    with pytest.raises(UserError, match=r"a\.wav: file is empty \(0 bytes\)"):
        read(tmp_path / "a.wav")


@pytest.mark.parametrize("read", [read_audio, audio_frames])
def test_header_without_audio_is_too_short(tmp_path: Path, read: Reader) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros(0, np.float32), 16000)
    with pytest.raises(UserError, match=r"a\.wav: 0 samples at 16 kHz; expected at least 400"):
        read(tmp_path / "a.wav")


@pytest.mark.parametrize("read", [read_audio, audio_frames])
def test_less_than_a_frame_is_named(tmp_path: Path, read: Reader) -> None:
    soundfile.write(tmp_path / "a.flac", tone(1000, 44100), 44100)
    with pytest.raises(UserError, match=r"a\.flac: 363 samples at 16 kHz; expected at least 400 \(one"):
        read(tmp_path / "a.flac")


@pytest.mark.parametrize("read", [read_audio, audio_frames])
def test_text_is_not_audio(tmp_path: Path, read: Reader) -> None:
    (tmp_path / "a.wav").write_text("not audio at all")
    with pytest.raises(UserError, match=r"a\.wav: cannot be read as audio .* expected wav, flac, ogg, opus or mp3"):
        read(tmp_path / "a.wav")


def test_folder_is_not_audio(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is a folder; expected an audio file"):
        read_audio(tmp_path)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_nan_and_inf_are_named(tmp_path: Path, value: float) -> None:
    wav = tone(1000)
    wav[77] = value
    soundfile.write(tmp_path / "a.wav", wav, 16000, subtype="FLOAT")
    with pytest.raises(UserError, match=r"a\.wav: holds NaN or infinite samples; expected finite numbers"):
        read_audio(tmp_path / "a.wav")


def test_truncated_flac_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.flac"
    soundfile.write(path, 0.1 * np.random.default_rng(0).standard_normal(50000), 16000)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(UserError, match=r"a\.flac: (cannot be read as audio|ends after)"):
        read_audio(path)


def test_file_that_differs_from_its_manifest_is_named(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", tone(8000), 16000)
    assert len(read_audio(tmp_path / "a.wav", expected_samples=8200)) == 8000
    with pytest.raises(UserError, match=r"8000 samples at 16 kHz; the manifest states 16000; write the"):
        read_audio(tmp_path / "a.wav", expected_samples=16000)


@pytest.mark.parametrize("read", [read_audio, audio_frames])
def test_a_damaged_mp3_is_called_so(tmp_path: Path, read: Reader) -> None:
    (tmp_path / "a.mp3").write_bytes(b"garbage" * 1000)
    with pytest.raises(UserError, match=r"a\.mp3: cannot be read as audio \(it is damaged, or no mp3 inside\)"):
        read(tmp_path / "a.mp3")


@pytest.mark.parametrize("read", [read_audio, audio_frames])
def test_an_mp3_with_a_hole_is_called_damaged(tmp_path: Path, read: Reader) -> None:
    soundfile.write(tmp_path / "a.mp3", 0.1 * np.random.default_rng(0).standard_normal(80_000), 16_000)
    data = (tmp_path / "a.mp3").read_bytes()
    (tmp_path / "a.mp3").write_bytes(data[:5_000] + b"U" * 5_000 + data[10_000:])
    with pytest.raises(UserError, match=r"a\.mp3: cannot be read as audio \(it is damaged\); .* fetch it again"):
        read(tmp_path / "a.mp3")


def test_rate_and_channels_are_those_of_the_file(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.MP3", np.stack([tone(44100, 44100)] * 2, axis=1), 44100, format="MP3")
    soundfile.write(tmp_path / "b.WAV", tone(4000), 16000)
    assert measured(tmp_path / "a.MP3") == Measured(16000, 44100, 2, seeks=False)
    assert measured(tmp_path / "b.WAV") == Measured(4000, 16000, 1, seeks=True)


@pytest.mark.parametrize("kept", [44, 5000])
@pytest.mark.parametrize("read", [read_audio, audio_frames])
def test_a_wav_file_that_was_cut_is_named(tmp_path: Path, read: Reader, kept: int) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, np.zeros(16000), 16000)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(UserError, match=r"a\.wav: holds \d+ of the 32000 bytes of samples its header states"):
        read(path)


def test_opus_is_read(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.opus", np.zeros(16000), 16000, format="OGG", subtype="OPUS")
    assert audio_frames(tmp_path / "a.opus") == len(read_audio(tmp_path / "a.opus")) == 16000


@pytest.mark.parametrize("rate_hz", [8000, 16000, 44100])
def test_the_parts_of_a_file_are_the_file_bit_for_bit(
    tmp_path: Path, rate_hz: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audio, "_BLOCK_FRAMES", 3_001)
    left = tone(2 * rate_hz + 7, rate_hz)
    soundfile.write(tmp_path / "a.wav", np.stack([left, left / 3], axis=1), rate_hz, subtype="FLOAT")
    parts = [*audio_blocks(tmp_path / "a.wav")]
    assert len(parts) > 5 and max(map(len, parts)) < 7_000
    assert torch.equal(torch.cat(parts), read_audio(tmp_path / "a.wav"))
    mono = (left + left / 3) / 2
    expected = mono if rate_hz == 16_000 else soxr.resample(mono, rate_hz, 16_000)
    torch.testing.assert_close(torch.cat(parts), torch.from_numpy(expected), atol=1e-6, rtol=0)


@pytest.mark.parametrize("fault", ["nan", "cut", "short"])
def test_a_fault_behind_the_first_part_is_found(tmp_path: Path, fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audio, "_BLOCK_FRAMES", 3_000)
    wav, path = tone(399 if fault == "short" else 9_000), tmp_path / "a.flac"
    if fault == "nan":
        path, wav[8_000] = tmp_path / "a.wav", np.nan
        soundfile.write(path, wav, 16_000, subtype="FLOAT")
    else:
        soundfile.write(path, wav, 16_000)
    if fault == "cut":
        path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    with pytest.raises(UserError, match={"nan": "holds NaN", "cut": "a.flac", "short": "399 samples"}[fault]):
        for _ in audio_blocks(path):
            pass

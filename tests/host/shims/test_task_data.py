"""Stand-ins for what s3prl's tasks read with."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.host.shims import audio_effects, audio_files, task_data

SILENCE = ["silence", "1", "0.1", "0.1%", "-1", "0.1", "0.1%"]


@pytest.fixture
def wav(tmp_path: Path) -> Path:
    path = tmp_path / "a.wav"
    soundfile.write(path, np.full(16_000, 0.1), 16_000)
    return path


@pytest.mark.parametrize(
    ("samples", "rate_hz", "said"),
    [
        (np.zeros(44_100), 44_100, "44100 Hz, 1 channel; expected 16000 Hz, 1 channel.*sox IN -r 16000 -c 1 OUT"),
        (np.zeros((16_000, 2)), 16_000, "16000 Hz, 2 channels; expected"),
        (np.zeros(300), 16_000, r"300 samples at 16000 Hz; expected at least 400 \(one frame\)"),
        (np.zeros(0), 16_000, "0 samples at 16000 Hz"),
        (np.full(800, np.nan), 16_000, "holds NaN or infinite samples"),
    ],
)
def test_samples_that_are_not_as_a_task_takes_them_are_named(
    samples: np.ndarray, rate_hz: int, said: str, tmp_path: Path
) -> None:
    path = tmp_path / "bad.wav"
    soundfile.write(path, samples, rate_hz, subtype="FLOAT")
    with pytest.raises(UserError, match=rf"bad\.wav: {said}"):
        task_data.Torchaudio(audio_files).load(str(path))
    if len(samples) > 400:
        with pytest.raises(UserError, match=rf"bad\.wav: {said}"):
            task_data.Soundfile.read(str(path), start=0, stop=400)


def test_right_samples_are_those_of_the_file(wav: Path) -> None:
    stand_in = task_data.Torchaudio(audio_files)
    waveform, rate_hz = stand_in.load(wav)
    assert waveform.equal(audio_files.load(wav)[0]) and rate_hz == 16_000 and stand_in.info is audio_files.info
    piece, _ = task_data.Soundfile.read(str(wav), start=100, stop=900)
    assert np.array_equal(piece, soundfile.read(wav, start=100, stop=900)[0])


def test_emotions_are_of_one_rate_whichever(tmp_path: Path) -> None:
    for name, rate_hz in (("a.wav", 44_100), ("b.wav", 44_100), ("c.wav", 16_000)):
        soundfile.write(tmp_path / name, np.zeros(rate_hz), rate_hz)
    stand_in = task_data.Torchaudio(audio_files, None)
    assert [stand_in.load(tmp_path / name)[1] for name in ("a.wav", "b.wav")] == [44_100, 44_100]
    with pytest.raises(UserError, match=r"c\.wav: 16000 Hz, 1 channel; expected 44100 Hz"):
        stand_in.load(tmp_path / "c.wav")


def test_a_recording_that_ends_before_its_piece_is_named(wav: Path) -> None:
    with pytest.raises(UserError, match=r"a\.wav: ends after 16000 samples, expected 32000 by its line in reco2dur"):
        task_data.Soundfile.read(str(wav), start=0, stop=32_000)


@pytest.mark.parametrize("make", [os.mkfifo, Path.mkdir, lambda path: path.write_bytes(b"no audio"), Path.touch])
def test_whatever_cannot_be_read_is_named(make: Any, tmp_path: Path) -> None:
    make(tmp_path / "x.wav")
    effects = task_data.checked_effects(audio_effects.apply_effects_file)
    for read in (task_data.Torchaudio(audio_files).load, task_data.Soundfile.read, lambda path: effects(path, [])):
        with pytest.raises(UserError, match=r"x\.wav"):
            read(str(tmp_path / "x.wav"))


def test_speech_that_is_only_silence_is_named(tmp_path: Path) -> None:
    class Trials:
        def __init__(self) -> None:
            self.dataset = [str(tmp_path / "hush.wav")]

        def __getitem__(self, index: int) -> tuple[np.ndarray, str]:
            effects = task_data.checked_effects(audio_effects.apply_effects_file)
            return effects(self.dataset[index], [SILENCE])[0][0].numpy(), "name"

    soundfile.write(tmp_path / "hush.wav", np.zeros(16_000), 16_000)
    with pytest.raises(UserError, match=r"hush\.wav: 0 samples at 16 kHz as the task reads it"):
        task_data.with_frames(Trials)()[0]


def test_folders_show_neither_hidden_files_nor_other_wildcards(tmp_path: Path) -> None:
    root = tmp_path / "a [b]"
    (root / ".hidden").mkdir(parents=True)
    (root / "dev" / "wav" / "id1").mkdir(parents=True)
    for name in ("x.wav", "Y.WAV", "._x.wav", "notes.txt"):
        (root / "dev" / name).touch()
    (root / "dev" / "wav" / "id1" / "[1]?.wav").touch()
    path = task_data.VisiblePath(root)
    assert [entry.name for entry in path.iterdir()] == ["dev"]
    assert sorted(entry.name for entry in (path / "dev").glob("*.wav")) == ["Y.WAV", "x.wav"]
    assert [entry.name for entry in path.glob("*/wav/id1/[1]?.wav")] == ["[1]?.wav"]
    assert pickle.loads(pickle.dumps(path)) == path
    assert task_data.find_audio(root) == [str(root / "dev" / name) for name in ("Y.WAV", "wav/id1/[1]?.wav", "x.wav")]
    assert task_data.list_recordings(str(root / "dev")) != [] and "notes.txt" not in task_data.list_recordings(
        str(root / "dev")
    )


def test_lists_lose_marks_and_empty_lines_and_other_files_are_opened_as_ever(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_bytes(b"\xef\xbb\xbf1 a.wav\r\n\r\n2 b\xc2\x85.wav\n \n")
    with task_data.open_list(path) as file:
        assert list(file) == ["1 a.wav\n", "2 b\x85.wav\n"]
    with task_data.open_list(tmp_path / "new", "wb") as file:
        file.write(b"\0")
    with task_data.open_list(tmp_path / "new", "rb") as file:
        assert file.read() == b"\0"
    with pytest.raises(UserError, match="gone.txt: no such file; expected text"):
        task_data.open_list(tmp_path / "gone.txt")


def test_no_command_of_a_table_is_run(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"wav\.scp: found the command 'touch .*nothing is run"):
        task_data.NoSubprocess.Popen(f"touch {tmp_path}/run", shell=True, stdout=task_data.NoSubprocess.PIPE)
    assert not list(tmp_path.iterdir())

"""Writing clips: whole files only, kept ones kept, and clear words when it fails."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import soundfile

from s3prl_gendistiller.corpora.clips import Recording, Spoken
from s3prl_gendistiller.corpora.espeak import Espeak
from s3prl_gendistiller.corpora.recording import Recorder, rttm
from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.formats.rttm import Turn, read_turns


@dataclass(frozen=True)
class Beep:
    path: str
    deadly: bool = False

    def record(self, engine: Espeak) -> Recording:
        if self.deadly:
            os._exit(3)
        return Recording(np.full(800, 0.5, np.float32))


def test_suffix_decides_the_format(tmp_path: Path) -> None:
    with Recorder(1, progress=False) as recorder:
        recorder.record(tmp_path, [Beep("a/b.flac"), Beep("a/c.wav")])
    assert [soundfile.info(tmp_path / "a" / name).format for name in ("b.flac", "c.wav")] == ["FLAC", "WAV"]
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["b.flac", "c.wav"]


def test_files_that_are_there_are_kept(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(b"mine")
    with Recorder(1, progress=False) as recorder:
        recorder.record(tmp_path, [Beep("a.wav"), Beep("b.wav")])
    assert (tmp_path / "a.wav").read_bytes() == b"mine"
    assert (tmp_path / "b.wav").is_file()


def test_worker_that_dies_is_reported_and_what_was_written_stays(tmp_path: Path) -> None:
    clips = [*(Beep(f"{i:02d}.wav") for i in range(40)), Beep("last.wav", deadly=True)]
    with (
        pytest.raises(UserError, match="a worker process ended early.*--workers"),
        Recorder(2, progress=False) as recorder,
    ):
        recorder.record(tmp_path, clips)
    assert {soundfile.info(path).frames for path in tmp_path.glob("*.wav")} <= {800}
    with Recorder(2, progress=False) as recorder:
        recorder.record(tmp_path, clips[:-1])
    assert len(list(tmp_path.glob("*.wav"))) == 40


def test_mistake_in_a_worker_reaches_the_caller(tmp_path: Path) -> None:
    clips = [Spoken(f"{i}.wav", "xx-nowhere", "hello") for i in range(30)]
    with pytest.raises(UserError, match="voice 'xx-nowhere'"), Recorder(2, progress=False) as recorder:
        recorder.record(tmp_path, clips)


def test_turns_survive_their_file(tmp_path: Path) -> None:
    turns = [Turn("2001", 0.25, 1.75), Turn("2002", 1.5, 3.125)]
    text = rttm("train-0001", turns)
    assert text.startswith("SPEAKER train-0001 1 0.250 1.500 <NA> <NA> 2001 <NA> <NA>\n")
    (tmp_path / "rttm").write_text(text)
    assert read_turns(tmp_path / "rttm") == {"train-0001": turns}


def test_a_full_disk_is_named_and_leaves_nothing_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, content: object) -> int:
        path.touch()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(UserError, match=r"a\.wav: cannot be written \(No space left"), Recorder(1, progress=False) as r:
        r.record(tmp_path, [Beep("a.wav")])
    assert list(tmp_path.iterdir()) == []

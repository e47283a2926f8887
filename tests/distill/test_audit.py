"""What is found out about the audio of a run before it starts."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import soundfile

from s3prl_gendistiller.distill.audit import check_audio, speech_hash
from s3prl_gendistiller.distill.crops import CropDataset
from s3prl_gendistiller.distill.manifest import Utterance
from s3prl_gendistiller.errors import UserError


def crops(folder: Path, count: int = 40, samples: int = 800) -> CropDataset:
    utterances = [Utterance(folder / f"{index}.flac", samples, f"dev.csv line {index + 2}") for index in range(count)]
    for utterance in utterances:
        if not utterance.path.exists():
            soundfile.write(utterance.path, np.full(samples, 0.1), 16_000)
    return CropDataset(utterances, None, None)


def test_every_bad_header_is_named_with_its_line_and_the_way_to_leave_it_out(tmp_path: Path) -> None:
    check_audio(crops(tmp_path))
    (tmp_path / "7.flac").write_bytes(b"fLaC")
    (tmp_path / "9.flac").unlink()
    soundfile.write(tmp_path / "11.flac", np.zeros(4_000), 16_000)
    (tmp_path / "13.flac").unlink()
    os.mkfifo(tmp_path / "13.flac")
    found = crops(tmp_path)
    (tmp_path / "9.flac").unlink()
    with pytest.raises(UserError) as caught:
        check_audio(found)
    message = str(caught.value)
    assert "4 of 40 audio files" in message and "datarc.skip_bad=True" in message
    for line, problem in (
        (9, "cannot be read as audio"),
        (11, "no such file"),
        (13, "the manifest states 800"),
        (15, "a named pipe"),
    ):
        assert any(f"dev.csv line {line}:" in part and problem in part for part in message.splitlines()), message


def test_the_first_samples_of_a_few_are_decoded(tmp_path: Path) -> None:
    (tmp_path / "39.flac").parent.mkdir(exist_ok=True)
    soundfile.write(tmp_path / "39.wav", np.full(800, np.nan), 16_000, subtype="FLOAT")
    (tmp_path / "39.wav").rename(tmp_path / "39.flac")
    with pytest.raises(UserError, match="1 of 40 audio files.*\\n.*NaN"):
        check_audio(crops(tmp_path))


def test_a_fingerprint_is_of_names_and_lengths_in_order(tmp_path: Path) -> None:
    few = [Utterance(tmp_path / name, 800, "x") for name in ("a.wav", "b.wav")]
    moved = [Utterance(tmp_path / "else" / utterance.path.name, 800, "y") for utterance in few]
    first = speech_hash(CropDataset(few, None, 1))
    assert speech_hash(CropDataset(moved, None, 2)) == first
    assert speech_hash(CropDataset(few[::-1], None, 1)) != first
    assert speech_hash(CropDataset([few[0], few[1]._replace(num_samples=801)], None, 1)) != first

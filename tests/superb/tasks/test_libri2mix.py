"""Kaldi tables from mixtures and alignments, as s3prl's own data set reads them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from s3prl_gendistiller.formats.rttm import read_turns
from s3prl_gendistiller.superb.corpus.check import Shelf, check, need
from s3prl_gendistiller.superb.corpus.make import find_sources, make
from s3prl_gendistiller.superb.tasks import TASKS
from s3prl_gendistiller.superb.tasks.libri2mix import ALIGNMENTS, MIXTURES
from s3prl_gendistiller.superb.tasks.needs import Sources
from tests.conftest import run_python
from tests.superb.corpus.test_check import speak

MIXTURE = "3536-8226-0026_1673-143397-0009"
TURNS = """\
SPEAKER 8226-0026 1   0.500   0.300 <NA> <NA> 3536 <NA> <NA>
SPEAKER 8226-0026 1   1.000   0.500 <NA> <NA> 3536 <NA> <NA>
SPEAKER 143397-0009 1   0.500   0.300 <NA> <NA> 1673 <NA> <NA>
"""
READ = """
import json, sys
from s3prl_gendistiller.host import compat
compat.apply()
from s3prl.downstream.diarization.dataset import DiarizationDataset
data = DiarizationDataset("train", sys.argv[1], frame_shift=320, num_speakers=2)
wav, labels = data[0]
print("\\n" + json.dumps([len(data), len(wav), labels.sum(0).tolist(), labels[24:26].tolist()]))
"""


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Libri2Mix as LibriMix leaves it, one mixture of two seconds a split."""
    monkeypatch.setenv("SUPERB_DATA", str(tmp_path))
    for name in MIXTURES.values():
        speak(tmp_path / f"Libri2Mix/wav16k/max/{name}/mix_both/{MIXTURE}.wav", 2.0)
    return tmp_path / "Libri2Mix"


def align(folder: Path, text: str = TURNS) -> Path:
    (folder / "metadata/LibriSpeech").mkdir(parents=True)
    for name in ALIGNMENTS.values():
        (folder / "metadata/LibriSpeech" / name).write_text(text)
    return folder


def made(sources: Sources | None = None) -> list[str]:
    return list(make(need(TASKS["sd"]), sources or Sources(), progress=False))


def test_s3prl_reads_what_is_made_of_mixtures(root: Path, tmp_path: Path) -> None:
    said = made(find_sources(None, align(tmp_path / "elsewhere")))
    assert len(said) == 3 * 6 and not any("not written" in line for line in said)
    assert check(need(TASKS["sd"]), Shelf(progress=False), lambda folder: True).problems == ()
    answer = run_python("-c", READ, root / "train")
    assert answer.returncode == 0, answer.stderr[-2000:]
    chunks, samples, frames, at_half_a_second = json.loads(answer.stdout.splitlines()[-1])
    assert (chunks, samples) == (1, 32_000)
    assert frames == [15, 40]  # speakers in the order of their names: 0.3 s, and 0.3 s + 0.5 s
    assert at_half_a_second == [[0, 0], [1, 1]]
    turns = read_turns(root / "train/rttm")[MIXTURE]
    assert [tuple(turn) for turn in turns][:2] == [("3536", 0.5, 0.8), ("3536", 1.0, 1.5)]


def test_utterance_names_tell_speakers_apart(root: Path, tmp_path: Path) -> None:
    made(find_sources(None, align(tmp_path / "elsewhere")))
    owners = [line.split() for line in (root / "dev/utt2spk").read_text().splitlines()]
    assert sorted(speaker for _, speaker in owners) == ["1673", "3536", "3536"]
    assert len({name for name, _ in owners}) == 3 and all(name.startswith(speaker) for name, speaker in owners)
    assert (root / "dev/spk2utt").read_text().splitlines()[0] == f"1673 {owners[0][0]}"


def test_what_is_there_is_kept(root: Path) -> None:
    align(root)
    (root / "test").mkdir()
    (root / "test/segments").write_text("mine")
    assert len(made()) == 17
    assert (root / "test/segments").read_text() == "mine"


def test_audio_beside_the_tables_needs_no_wav_scp(root: Path) -> None:
    align(root.parent / "LibriMix")
    speak(root / f"train/wav/{MIXTURE}.wav", 1.0)
    made()
    assert not (root / "train/wav.scp").exists() and (root / "dev/wav.scp").is_file()
    assert (root / "train/reco2dur").read_text() == f"{MIXTURE} 1.0000\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "give --librimix CHECKOUT"),
        ("SPEAKER 8226-0026 1 zero 1 <NA> <NA> 3536\n", "line 1: found 'SPEAKER 8226-0026 1 zero"),
        (TURNS.splitlines()[0], "1 of 1 names are not two utterances"),
    ],
)
def test_what_is_missing_is_named(root: Path, text: str | None, said: str) -> None:
    if text is not None:
        align(root, text)
    lines = made()
    assert len(lines) == 3 and all(line.startswith("not written") and said in line for line in lines)
    assert not (root / "train").exists()

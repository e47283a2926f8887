"""`gendistiller data check` as a person types it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from s3prl_gendistiller.cli import main
from s3prl_gendistiller.superb.tasks import TASKS
from tests.bench import write_corpus


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("tiny")
    assert main(["corpus", str(out), "--size", "tiny", "--workers", "1", "--no-progress"]) == 0
    return out


def checked(*arguments: str) -> int:
    return main(["data", "check", "--no-progress", *arguments])


def rows(text: str) -> dict[str, list[str]]:
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("|")]
    return {cells[0]: cells[1:] for cells in lines[2:]}


def test_synthetic_corpora_are_called_so(
    tiny: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SUPERB_DATA", str(tiny))
    assert checked() == 0
    found = rows(capsys.readouterr().out)
    assert list(found) == [name.upper() for name in TASKS]
    assert {cells[1] for cells in found.values()} == {"synthetic"}
    assert found["PR"][2:5] == ["26", found["ASR"][3], "33,862 files, 111.4 h"] and float(found["PR"][3]) > 0
    assert found["IC"][4] == "30,043 listed" and found["ER"][4] == "5,531 listed"


def test_damage_is_named_and_status_2(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("LibriSpeech", "fluent_speech_commands_dataset", "SNIPS"):
        shutil.copytree(tiny / name, tmp_path / name)
    monkeypatch.setenv("SUPERB_DATA", str(tmp_path))
    (tmp_path / "LibriSpeech/lexicon.txt").unlink()
    next((tmp_path / "fluent_speech_commands_dataset/wavs").rglob("train_*.wav")).unlink()
    (tmp_path / "SNIPS/SHA256SUMS").unlink()
    assert checked("--tasks", "pr", "asr", "ic", "sf", "--no-durations") == 2
    said = capsys.readouterr().out
    found = rows(said)
    assert [found[name][1] for name in ("PR", "ASR", "IC", "SF")] == ["incomplete", "synthetic"] + ["incomplete"] * 2
    assert found["PR"][3] == "" and found["PR"][5] == "see below"
    assert f"pr: {tmp_path}/LibriSpeech: no lexicon.txt; repeat `gendistiller corpus`" in said
    assert "ic: " in said and "names 1 audio files that are not there" in said
    assert "SNIPS: not finished; repeat `gendistiller corpus`" in said


def test_an_empty_folder_says_where_everything_is_to_be_had(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SUPERB_DATA", str(tmp_path))
    assert checked("--make") == 2
    found = rows(capsys.readouterr().out)
    assert {cells[1] for cells in found.values()} == {"absent"} and not list(tmp_path.iterdir())
    assert "OpenSLR 12" in found["PR"][5] and "release form" in found["ER"][5]


def test_make_mends_what_can_be_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_corpus(tmp_path)
    shutil.rmtree(tmp_path / "LibriSpeech/len_for_bucket")
    (tmp_path / "LibriSpeech/librispeech-lexicon.txt").write_text("RED\tR EH1 D\nBLUE\tB L UW1\nGREEN\tG R IY1 N\n")
    monkeypatch.setenv("SUPERB_DATA", str(tmp_path))
    assert checked("--tasks", "pr", "asr", "--make") == 2  # the corpus is smaller than the published one
    said = capsys.readouterr().out
    assert "train-clean-100.csv: 10 files" in said
    assert "1 words that the lexicon lacks have espeak-ng's pronunciation, which SUPERB does not use" in said
    assert "IT'S\t" in (tmp_path / "LibriSpeech/lexicon.txt").read_text()
    assert "asr: train-clean-100: 10 of 28,539 files" in said and "len_for_bucket: no" not in said
    assert rows(said)["ASR"][5] == "get the rest of OpenSLR 12 (CC BY 4.0), see below"


def test_superbs_own_lists_stay_out_of_a_synthetic_corpus(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(tiny / "VoxCeleb1", tmp_path / "VoxCeleb1")
    (tmp_path / "VoxCeleb1/veri_test_class.txt").unlink()
    checkout = tmp_path / "s3prl/s3prl/downstream"
    for name in ("ctc/expert.py", "voxceleb1/veri_test_class.txt"):
        (checkout / name).parent.mkdir(parents=True, exist_ok=True)
        (checkout / name).write_text("1 id10001/x/00001.wav\n")
    monkeypatch.setenv("SUPERB_DATA", str(tmp_path))
    assert checked("--tasks", "sid", "--make", "--s3prl", str(tmp_path / "s3prl")) == 2
    assert not (tmp_path / "VoxCeleb1/veri_test_class.txt").exists()
    assert "no veri_test_class.txt; repeat `gendistiller corpus`" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--tasks", "kws"], "kws"),
        (["--s3prl", "."], "--s3prl and --librimix are for --make"),
        (["--make", "--s3prl", "."], "expected a git checkout of s3prl"),
    ],
)
def test_mistakes_are_one_message_and_status_2(
    given: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SUPERB_DATA", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert checked(*given) == 2
    assert said in capsys.readouterr().err


def test_without_the_variable_it_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delenv("SUPERB_DATA", raising=False)
    assert checked() == 2
    assert "SUPERB_DATA is not set" in capsys.readouterr().err

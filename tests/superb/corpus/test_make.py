"""What follows from a corpus is written, and what is there is left alone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.superb.corpus.check import Shelf, check, need
from s3prl_gendistiller.superb.corpus.make import find_sources, make
from s3prl_gendistiller.superb.tasks import TASKS
from s3prl_gendistiller.superb.tasks.needs import Sources
from s3prl_gendistiller.superb.tasks.pr import OFFICIAL_LEXICONS
from tests.bench import write_corpus
from tests.conftest import run_python
from tests.superb.corpus.test_check import speak

LEXICON = "RED  R EH1 D\nBLUE\tB L UW1\nRED\tR IY1 D\nGREEN G R IY1 N\n"


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SUPERB_DATA", str(tmp_path / "data"))
    return write_corpus(tmp_path / "data")


def made(name: str, sources: Sources | None = None) -> str:
    return "\n".join(make(need(TASKS[name]), sources or Sources(), progress=False))


def checkout(root: Path, files: Mapping[str, str]) -> Path:
    """As much of a git checkout of s3prl as is looked at."""
    for name, text in {"downstream/ctc/expert.py": "", **files}.items():
        path = root / "s3prl" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_missing_lengths_are_written_and_others_kept(data: Path) -> None:
    lists = data / "LibriSpeech/len_for_bucket"
    before = (lists / "dev-clean.csv").read_text()
    (lists / "dev-clean.csv").unlink()
    (lists / "test-clean.csv").write_text("mine")
    assert made("asr").startswith(f"{lists / 'dev-clean.csv'}: 3 files")
    assert (lists / "dev-clean.csv").read_text() == before and (lists / "test-clean.csv").read_text() == "mine"
    assert made("asr") == ""


def test_a_split_that_cannot_be_read_keeps_the_others_from_nothing(data: Path) -> None:
    lists = data / "LibriSpeech/len_for_bucket"
    for file in lists.iterdir():
        file.unlink()
    next((data / "LibriSpeech/train-clean-100").rglob("*.flac")).write_bytes(b"no audio")
    said = made("asr")
    assert "not written: 1 of 10 audio files cannot be used" in said and "dev-clean.csv: 3 files" in said
    assert sorted(file.name for file in lists.iterdir()) == ["dev-clean.csv", "test-clean.csv"]


def test_the_lexicon_of_openslr_is_completed_by_a_synthesiser(data: Path) -> None:
    (data / "LibriSpeech/librispeech-lexicon.txt").write_text(LEXICON)
    asked: list[str] = []

    def pronounce(words: object) -> Mapping[str, str]:
        asked.extend(words)  # type: ignore[call-overload]
        return {word: "IH1 T S" for word in asked}

    target = data / "LibriSpeech/lexicon.txt"
    assert "lacks 1 words of the corpus (IT'S)" in made("pr") and not target.exists()
    guessed = "1 words that the lexicon lacks have espeak-ng's pronunciation, which SUPERB does not use"
    assert guessed in made("pr", Sources(pronounce=pronounce))
    assert asked == ["IT'S"]
    assert target.read_text() == "RED\tR EH1 D\nBLUE\tB L UW1\nGREEN\tG R IY1 N\nIT'S\tIH1 T S\n"


def test_the_lexicon_of_superb_comes_first(data: Path, tmp_path: Path) -> None:
    (data / "LibriSpeech/librispeech-lexicon.txt").write_text("RED\tR IY1 D\n")
    first, second = OFFICIAL_LEXICONS
    sources = find_sources(checkout(tmp_path / "s3prl", {first: LEXICON, second: "IT'S\tIH1 T S\n"}), None)
    assert "4 words from" in made("pr", sources)
    assert (data / "LibriSpeech/lexicon.txt").read_text().startswith("RED\tR EH1 D\n")


def test_without_a_lexicon_it_is_said_where_to_get_one(data: Path) -> None:
    assert "librispeech-lexicon.txt of OpenSLR 11" in made("pr")


def test_phones_that_the_task_does_not_know_are_refused(data: Path) -> None:
    (data / "LibriSpeech/librispeech-lexicon.txt").write_text("RED r e d\n")
    assert "the word RED has the phoneme r, which is not in" in made("pr")
    assert not (data / "LibriSpeech/lexicon.txt").exists()


def test_superbs_own_lists_are_copied_from_a_checkout(data: Path, tmp_path: Path) -> None:
    speak(data / "VoxCeleb1/dev/wav/id10001/x/00001.wav")
    speak(data / "VoxCeleb1/test/wav/id10270/x/00001.wav")
    trials = "1 id10270/x/00001.wav id10270/x/00001.wav\n"
    files = {
        "downstream/voxceleb1/veri_test_class.txt": "1 id10001/x/00001.wav\n3 id10270/x/00001.wav\n",
        "downstream/sv_voxceleb1/voxceleb1_test_v2.txt": trials,
        "downstream/sv_voxceleb1/dev_meta_data/dev_meta_data.txt": "0 id10001/x/00001.wav id10001/x/00001.wav\n",
        "downstream/sv_voxceleb1/dev_meta_data/dev_speaker_ids.txt": "id10001\n",
    }
    (data / "VoxCeleb1/voxceleb1_test_v2.txt").write_text(trials)
    sources = find_sources(checkout(tmp_path / "s3prl", files), None)
    assert made("sid", sources).startswith(str(data / "VoxCeleb1/veri_test_class.txt"))
    assert len(made("asv", sources).splitlines()) == 2
    for name in ("sid", "asv"):
        assert check(need(TASKS[name]), Shelf(progress=False), lambda root: True).problems == ()
    assert made("sid") == made("asv") == ""


def test_without_a_checkout_it_is_said_that_it_has_them(data: Path) -> None:
    speak(data / "VoxCeleb1/dev/wav/id10001/x/00001.wav")
    assert made("sid") == ""
    problems = check(need(TASKS["sid"]), Shelf(progress=False), lambda root: None).problems
    assert any("a git checkout of s3prl has it in s3prl/downstream/voxceleb1" in problem for problem in problems)


def test_the_folds_of_iemocap_are_those_of_s3prls_script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUPERB_DATA", str(tmp_path))
    root = tmp_path / "IEMOCAP"
    for session in range(1, 6):
        dialog = f"Ses{session:02d}F_impro01"
        lines = ["% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]\n"]
        for number, emotion in enumerate(("neu", "exc", "xxx", "ang", "sad", "hap")):
            name = f"{dialog}_F{number:03d}"
            lines.append(
                f"[{number}.0000 - {number + 1}.0000]\t{name}\t{emotion}\t[2.5000, 2.5000, 2.5000]\nC-E2:\tx;\n"
            )
            if emotion != "ang":
                speak(root / f"Session{session}/sentences/wav/{dialog}/{name}.wav", 0.1)
        (root / f"Session{session}/dialog/EmoEvaluation").mkdir(parents=True)
        (root / f"Session{session}/dialog/EmoEvaluation/{dialog}.txt").write_text("\n".join(lines))
    said = made("er")
    assert len(said.splitlines()) == 10 and "4 utterances" in said and "16 utterances" in said
    files = sorted((root / "meta_data").rglob("*.json"))
    ours = {file: json.loads(file.read_text()) for file in files}
    answer = run_python("-c", f"from s3prl.downstream.emotion import IEMOCAP_preprocess as p; p.main({str(root)!r})")
    assert answer.returncode == 0, answer.stderr[-2000:]
    for file in files:
        theirs = json.loads(file.read_text())
        assert theirs["labels"] == ours[file]["labels"]
        assert sorted(map(str, theirs["meta_data"])) == sorted(map(str, ours[file]["meta_data"]))


def test_a_folder_that_is_no_checkout_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--s3prl .* found no downstream/ctc"):
        find_sources(tmp_path, None)
    with pytest.raises(UserError, match="--librimix .* found no metadata/LibriSpeech"):
        find_sources(None, tmp_path)


def test_nothing_is_made_of_a_corpus_that_is_not_there(data: Path) -> None:
    assert made("er") == made("sd") == "" and not (data / "IEMOCAP").exists()

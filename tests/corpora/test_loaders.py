"""Every corpus as s3prl's own data sets read it, in one process of its own."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from recordings.corpora import write_real
from s3prl_gendistiller.corpora import fluent, snips
from tests.benchmarks.test_real_corpora import write_recordings
from tests.conftest import run_python

KEYWORDS = {"yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go"}


def litter(root: Path) -> Path:
    """What file managers, archives and editors leave in a corpus: hidden files, byte order marks, empty lines.

    Hidden files not in IEMOCAP, of which s3prl's script lists the folders by itself.
    """
    for folder in [root, *(path for path in root.rglob("*") if path.is_dir() and "IEMOCAP" not in path.parts)]:
        for name in (".DS_Store", "._00001.wav", "._1.flac", "._1.trans.txt", "Thumbs.db"):
            (folder / name).write_bytes(b"\0\5\x16\7\xff")
        (folder / ".git").mkdir()
        (folder / ".git" / "a.wav").write_bytes(b"\xff")
    for path in root.rglob("[!.]*"):
        kept = path.is_dir() or path.suffix in (".wav", ".flac", ".db") or path.name in ("slots.txt", "SHA256SUMS")
        if not kept and not {".git", "dialog"} & {*path.parts}:
            text = path.read_bytes().replace(b"\n", b"\r\n" if path.suffix == ".csv" else b"\n\n")
            path.write_bytes(b"\xef\xbb\xbf" + text)
    return root


@pytest.fixture(scope="module")
def found(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("real")
    write_real(folder / "out", write_recordings(folder / "recordings"), progress=False)
    littered = litter(shutil.copytree(tiny, folder / "a [littered] place"))
    answer = run_python("-m", "tests.corpora.loaders", littered, folder / "out", cwd=Path(__file__).parents[2])
    assert answer.returncode == 0, answer.stderr[-3000:]
    result: dict[str, Any] = json.loads(answer.stdout)
    return result


def test_asr_reads_every_utterance_and_letter(found: dict[str, Any]) -> None:
    assert found["asr"]["clips"] == {"train": 18, "dev-clean": 4, "test-clean": 4}
    assert found["asr"]["unknown_letters"] == 0
    samples, letters = found["asr"]["longest"]
    assert samples / 320 > letters > 20  # CTC needs a frame a letter


def test_phone_recognition_knows_every_word_and_phone(found: dict[str, Any]) -> None:
    assert found["pr"]["clips"] == {"train": 18, "dev": 4, "test": 4}
    assert found["pr"]["unknown_tokens"] == 0
    assert len(found["pr"]["example"].split()) > 15


def test_keyword_spotting_finds_twelve_classes_in_every_split(found: dict[str, Any]) -> None:
    classes = found["ks"]["classes"]
    for split, takes in (("train", 4), ("valid", 2), ("test", 2)):
        assert set(classes[split]) == KEYWORDS | {"_unknown_", "_silence_"}
        assert {classes[split][word] for word in KEYWORDS} == {takes}
    assert found["ks"]["lengths"] == {"train": [16000], "valid": [16000], "test": [16000]}


def test_validation_list_names_what_s3prl_validates_on(found: dict[str, Any], tiny: Path) -> None:
    listed = (tiny / "speech_commands_v0.01/validation_list.txt").read_text().split()
    assert sorted(listed) == found["ks"]["valid"]


def test_query_by_example_finds_queries_and_documents(found: dict[str, Any]) -> None:
    for split in ("dev", "eval"):
        queries, documents, shortest, first, last = found["qbe"][split]
        assert (queries, documents) == (3, 12)
        assert shortest >= 5 * 320  # s3prl takes no query of fewer than five frames
        assert (first, last) == (f"quesst14_{split}_001", "quesst14_00012")


def test_identification_knows_all_speakers_in_every_split(found: dict[str, Any]) -> None:
    assert found["sid"]["clips"] == {"train": 6, "dev": 6, "test": 6}
    for split in ("train", "dev", "test"):
        assert found["sid"]["labels"][split] == [0, 1, 2, 3, 269, 270]


def test_verification_keeps_every_utterance_and_has_balanced_trials(found: dict[str, Any]) -> None:
    speakers, kept = found["asv"]["train"]
    assert speakers == 4
    assert kept == found["asv"]["written"]  # none is under two seconds without its silence
    for part in ("dev", "test"):
        assert len(set(found["asv"][part][1].values())) == 1


def test_diarization_sees_two_speakers_who_overlap(found: dict[str, Any]) -> None:
    for split, recordings in (("train", 4), ("dev", 2), ("test", 2)):
        count, speakers, overlap = found["sd"][split]
        assert (count, speakers) == (recordings, 2)
        assert 0.03 < overlap < 0.5


def test_intents_of_dev_and_test_are_known_from_training(found: dict[str, Any]) -> None:
    assert found["ic"]["train"] == [31, len(fluent.INTENTS)]
    assert found["ic"]["values"] == [6, 14, 4]
    assert (found["ic"]["valid"][0], found["ic"]["test"][0]) == (8, 8)


def test_slot_filling_knows_every_letter_and_slot(found: dict[str, Any]) -> None:
    assert found["sf"]["clips"] == {"train": 16, "dev": 4, "test": 4}
    assert found["sf"]["unknown_tokens"] == 0
    assert "B-" in found["sf"]["example"]
    assert len(snips.SPEAKERS["train"]) == 8


def test_every_fold_of_emotion_recognition_has_four_balanced_classes(found: dict[str, Any]) -> None:
    for session in range(1, 6):
        for purpose, each in (("train", 8), ("test", 2)):
            count, classes, labels, _ = found["er"][f"{session} {purpose}"]
            assert (count, classes, set(labels.values())) == (4 * each, 4, {each})


def test_fold_lists_are_those_of_s3prls_own_script(found: dict[str, Any]) -> None:
    assert found["er_script"] is True


def test_real_recordings_are_read_as_keywords_speakers_and_intents(found: dict[str, Any]) -> None:
    real = found["real"]
    assert set(real["ks"]["classes"]["train"]) == KEYWORDS | {"_silence_"}
    assert {real["ks"]["classes"][split]["yes"] for split in ("train", "valid", "test")} == {4}
    assert real["sid"]["clips"] == {"train": 40, "dev": 40, "test": 40}
    assert real["sid"]["labels"]["test"] == [0, 1, 2, 3]
    assert real["ic"]["values"] == [2, 2, 2]
    assert real["ic"]["test"][0] == 2


def test_real_recordings_are_read_as_trials_queries_and_documents(found: dict[str, Any]) -> None:
    real = found["real"]
    assert real["asv"]["train"][0] == 2
    assert real["asv"]["dev"][1] == {"1": 2, "0": 2}
    assert real["asv"]["test"][1] == {"1": 18, "0": 18}
    assert [real["qbe"][split][:2] for split in ("dev", "eval")] == [[3, 20], [6, 20]]


def test_audio_that_is_taken_for_something_else_is_named_where_it_is_read(found: dict[str, Any]) -> None:
    said = found["refusals"]
    for task in ("asr", "pr", "sid", "ic", "sd"):
        assert ": 44100 Hz, 1 channel; expected 16000 Hz, 1 channel" in said[task], task
    assert "Session" in said["er"] and "16000 Hz, 2 channels; expected 16000 Hz, 1 channel" in said["er"]
    assert said["qbe"] == ""  # s3prl resamples it

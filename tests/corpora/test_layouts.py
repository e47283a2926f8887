"""What each layout promises beyond being readable: who and what the splits share, and that the labels are true."""

from __future__ import annotations

import csv
import itertools
import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterable
from itertools import islice
from pathlib import Path
from types import ModuleType
from xml.etree import ElementTree

import numpy as np
import pytest
import soundfile

from s3prl_gendistiller.corpora import fluent, iemocap, libri2mix, quesst, snips, speech_commands, voxceleb
from s3prl_gendistiller.corpora.clips import Conversation, Spoken
from s3prl_gendistiller.corpora.espeak import Espeak
from s3prl_gendistiller.corpora.folder import CorpusPlan
from s3prl_gendistiller.corpora.voices import Studio
from s3prl_gendistiller.formats.rttm import read_turns
from tests.corpora.conftest import names


def spoken(plan: CorpusPlan) -> list[tuple[str, Spoken]]:
    """Path of the file and utterance, conversations taken apart."""
    found = [(clip.path, clip) for clip in plan.clips if isinstance(clip, Spoken)]
    talks = [clip for clip in plan.clips if isinstance(clip, Conversation)]
    return found + [(talk.path, part.spoken) for talk in talks for part in talk.parts]


def share(groups: Iterable[set[str]]) -> set[str]:
    """What any two of them have in common."""
    return set().union(*(first & second for first, second in itertools.combinations(list(groups), 2)))


# Which split, session or set a path belongs to; the corpora whose groups also share no sentence.
GROUPS: dict[ModuleType, tuple[Callable[[str], str], bool]] = {
    libri2mix: (lambda path: path.split("/")[0], True),
    snips: (lambda path: path.split("/")[0], True),
    iemocap: (lambda path: path.split("/")[0], True),
    quesst: (lambda path: path.split("/")[0], True),
    voxceleb: (lambda path: path.split("/")[0], True),
    fluent: (lambda path: path.split("/")[-1].split("_")[0], False),
    speech_commands: (lambda path: speech_commands.split_of(path.split("/")[1].split("_")[0]), False),
}


@pytest.mark.parametrize("module", GROUPS, ids=lambda module: module.FOLDER)
def test_groups_share_no_speaker_and_no_sentence(module: ModuleType) -> None:
    group, sentences_too = GROUPS[module]
    voices: defaultdict[str, set[str]] = defaultdict(set)
    texts: defaultdict[str, set[str]] = defaultdict(set)
    for path, utterance in spoken(module.plans(Espeak(), "small", 0)[0]):
        voices[group(path)].add(utterance.voice)
        texts[group(path)].add(utterance.text.upper())
    assert len(voices) > 1
    assert share(voices.values()) == set()
    if sentences_too:
        assert share(texts.values()) == set()


def test_keyword_clips_last_a_second_and_hold_speech(tiny: Path) -> None:
    for word in (*speech_commands.KEYWORDS, "bed"):
        for path in (tiny / "speech_commands_v0.01" / word).iterdir():
            wav, rate_hz = soundfile.read(path)
            assert (len(wav), rate_hz) == (16000, 16000)
            frames = np.sqrt((wav.reshape(50, 320) ** 2).mean(1))
            assert frames.max() > 1.5 * np.median(frames)


def test_test_set_holds_the_clips_that_the_testing_list_names(tiny: Path) -> None:
    root, tests = tiny / "speech_commands_v0.01", tiny / "speech_commands_test_set_v0.01"
    listed = (root / "testing_list.txt").read_text().split()
    assert {path.read_bytes() for path in (root / name for name in listed)} == {
        (tests / name).read_bytes() for name in names(tests) if not name.startswith("_silence_")
    }
    assert {path.split("/")[0] for path in names(tests)} == {*speech_commands.KEYWORDS, "_unknown_", "_silence_"}


def test_ground_truth_names_the_documents_that_hold_the_query(tiny: Path) -> None:
    root = tiny / "quesst14Database"
    documents = dict(line.split(" ", 1) for line in (root / "document_words.txt").read_text().splitlines())
    words = dict(line.split(" ", 1) for line in (root / "query_words.txt").read_text().splitlines())
    for name in ("dev", "eval"):
        truth = root / f"scoring/groundtruth_quesst14_{name}"
        lines = [line.split() for line in (truth / f"quesst14_{name}.rttm").read_text().splitlines()]
        found = {(line[5], line[1]) for line in lines}
        queries = {query: text for query, text in words.items() if f"_{name}_" in query}
        assert found == {(q, d) for q, t in queries.items() for d, s in documents.items() if f" {t} " in f" {s} "}
        assert {query for query, _ in found} == set(queries)
        terms = ElementTree.parse(truth / f"quesst14_{name}.tlist.xml").getroot()
        assert [term.get("termid") for term in terms] == list(queries)
        searched = ElementTree.parse(truth / "quesst14.ecf.xml").getroot()
        assert [document.get("audio_filename") for document in searched] == list(documents)


def test_a_query_is_whole_words_and_no_part_of_another() -> None:
    assert quesst.matches("GOLDEN COAT", "A GOLDEN COAT AT MIDNIGHT")
    assert not quesst.matches("OLD", "A GOLDEN COAT")
    texts = ["THE GOLDEN LANTERN", "A GOLDEN LANTERN", *["NOBODY"] * 14]
    terms = quesst._terms(texts, 2, Studio(0).chance("x"))
    assert len(terms) == 2 and not quesst.matches(terms[0], terms[1])


def test_identification_splits_by_session_and_trials_cross_sessions(tiny: Path) -> None:
    root = tiny / "VoxCeleb1"
    sessions: defaultdict[str, set[str]] = defaultdict(set)
    for purpose, path in (line.split() for line in (root / "veri_test_class.txt").read_text().splitlines()):
        sessions[purpose].add(path.rsplit("/", 1)[0])
    assert set(sessions) == {"1", "2", "3"} and share(sessions.values()) == set()
    for part, file in (("test", "voxceleb1_test_v2.txt"), ("dev", "dev_meta_data/dev_meta_data.txt")):
        for label, first, second in (line.split() for line in (root / file).read_text().splitlines()):
            same = first.split("/")[0] == second.split("/")[0]
            assert (label == "1") == same
            assert first.split("/")[:2] != second.split("/")[:2]
            assert all((root / part / "wav" / path).is_file() for path in (first, second))


def test_turns_are_where_the_speech_is(tiny: Path) -> None:
    for path in sorted((tiny / "Libri2Mix/train/wav").iterdir()):
        wav, rate_hz = soundfile.read(path)
        turns = read_turns(path.parent.parent / "turns" / f"{path.stem}.rttm")[path.stem]
        assert len({turn.speaker for turn in turns}) == 2
        talking = np.zeros(len(wav), bool)
        for turn in turns:
            assert 0 <= turn.start_s < turn.end_s <= len(wav) / rate_hz + 0.001
            talking[round(turn.start_s * rate_hz) : round(turn.end_s * rate_hz)] = True
        if (~talking).sum() > 1000:
            assert wav[talking].std() > 2 * wav[~talking].std()


def test_kaldi_tables_agree_with_each_other(tiny: Path) -> None:
    for split in ("train", "dev", "test"):
        folder = tiny / "Libri2Mix" / split
        table = {name: [line.split() for line in (folder / name).read_text().splitlines()] for name in KALDI}
        recordings = {path.removesuffix(".wav") for path in names(folder / "wav")}
        assert {row[0] for row in table["reco2dur"]} == {row[1] for row in table["segments"]} == recordings
        assert table["segments"] == sorted(table["segments"])
        assert dict(table["utt2spk"]) == {utt: row[0] for row in table["spk2utt"] for utt in row[1:]}
        assert len(table["rttm"]) == len(table["segments"])
        assert not (folder / "wav.scp").exists()


KALDI = ("segments", "utt2spk", "spk2utt", "reco2dur", "rttm")


def test_all_intents_occur_in_training_and_the_words_say_them(tiny: Path) -> None:
    rows = list(csv.DictReader((tiny / fluent.FOLDER / "data/train_data.csv").read_text().splitlines()))
    assert len(fluent.INTENTS) == len({(row["action"], row["object"], row["location"]) for row in rows}) == 31
    for row in rows:
        assert (tiny / fluent.FOLDER / row["path"]).is_file()
        said = [value for value in (row["object"], row["location"]) if value != "none"]
        assert all(value in row["transcription"] for value in said)


def test_every_word_of_snips_has_a_slot_and_slots_end_without_a_line(tiny: Path) -> None:
    slots = (tiny / "SNIPS/slots.txt").read_text()
    assert slots.startswith("O\n") and not slots.endswith("\n")
    for line in (tiny / "SNIPS/all.iob.snips.txt").read_text().splitlines():
        assert re.fullmatch(r"\w+-snips-\w+-\d+ BOS [A-Z' ]+ EOS\tO [\w ]+ \w+", line)
        name, *words = line.split("\t")[0].split(" ")
        labels = line.split("\t")[1].split(" ")
        assert len(words) == len(labels)
        assert set(labels[1:-1]) <= set(slots.split("\n"))
        assert (tiny / "SNIPS" / name.split("-")[2] / f"{name}.wav").is_file()


def test_requests_are_never_repeated_and_cover_all_intents() -> None:
    drawn = list(islice(snips.requests(Studio(0).chance("x")), 700))
    assert len({request.words for request in drawn}) == 700
    assert {request.intent for request in drawn} == set(snips._TEMPLATES)


def test_emotions_differ_in_how_they_are_spoken_and_not_in_what_is_said(tiny: Path) -> None:
    loudness: defaultdict[str, list[float]] = defaultdict(list)
    for session in range(1, 6):
        rows = json.loads((tiny / f"IEMOCAP/meta_data/Session{session}/test_meta_data.json").read_text())["meta_data"]
        for row in rows:
            wav, _ = soundfile.read(tiny / "IEMOCAP" / row["path"])
            loudness[row["label"]].append(float(np.abs(wav).max()))
    median = {emotion: float(np.median(values)) for emotion, values in loudness.items()}
    assert median["ang"] > median["neu"] > median["sad"]
    for first, second in itertools.pairwise(("neu", "hap", "ang")):
        rates = iemocap.EMOTIONS[first].rate_wpm, iemocap.EMOTIONS[second].rate_wpm
        assert rates[0][1] > rates[1][0]  # ranges touch, so no single measure tells them apart

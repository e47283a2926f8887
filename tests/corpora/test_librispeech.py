from __future__ import annotations

import hashlib
import re
import sys
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import soundfile

from s3prl_gendistiller.corpora.espeak import ACCENTS, Espeak
from s3prl_gendistiller.corpora.librispeech import SplitSize, write_librispeech
from s3prl_gendistiller.corpora.sentences import sentences
from s3prl_gendistiller.distill.manifest import read_manifest
from s3prl_gendistiller.errors import UserError

SMALL = {
    "train-clean-100": SplitSize(speakers=2, utterances=23),
    "dev-clean": SplitSize(speakers=1, utterances=2),
    "test-clean": SplitSize(speakers=1, utterances=2),
}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_librispeech(tmp_path_factory.mktemp("corpus"), splits=SMALL, progress=False)


def digests(root: Path) -> dict[str, str]:
    files = (path for path in root.rglob("*") if path.is_file())
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def transcripts(root: Path, split: str) -> dict[str, str]:
    lines = (line for path in (root / split).rglob("*.trans.txt") for line in path.read_text().splitlines())
    return dict(line.split(" ", 1) for line in lines)


def test_layout_is_librispeechs(corpus: Path) -> None:
    assert corpus.name == "LibriSpeech"
    for split, size in SMALL.items():
        files = list((corpus / split).rglob("*.flac"))
        assert len(files) == size.utterances
        assert {path.stem for path in files} == set(transcripts(corpus, split))
        for path in files:
            speaker, chapter = path.parts[-3:-1]
            assert re.fullmatch(rf"{speaker}-{chapter}-\d{{4}}", path.stem)
            assert (path.parent / f"{speaker}-{chapter}.trans.txt").is_file()


def test_audio_is_speech_of_a_few_seconds_at_16_khz(corpus: Path) -> None:
    for path in corpus.rglob("*.flac"):
        info = soundfile.info(path)
        assert (info.samplerate, info.channels, info.subtype) == (16000, 1, "PCM_16")
        assert 1.5 < info.duration < 8
        wav, _ = soundfile.read(path)
        assert 0.15 < np.abs(wav).max() <= 0.51


def test_manifests_list_every_file(corpus: Path) -> None:
    for split, size in SMALL.items():
        utterances = read_manifest([corpus / "len_for_bucket" / f"{split}.csv"], corpus)
        assert len(utterances) == size.utterances


def test_splits_share_no_speaker_and_no_sentence(corpus: Path) -> None:
    texts = [set(transcripts(corpus, split).values()) for split in SMALL]
    assert [len(of_split) for of_split in texts] == [23, 2, 2]
    assert len(set.union(*texts)) == 27
    table = [line.split(" | ") for line in (corpus / "SPEAKERS.TXT").read_text().splitlines()[2:]]
    assert [len({row[column] for row in table}) for column in (0, 2)] == [4, 4]


def test_transcripts_are_in_librispeechs_alphabet(corpus: Path) -> None:
    for split in SMALL:
        for text in transcripts(corpus, split).values():
            assert re.fullmatch(r"[A-Z']+( [A-Z']+){3,14}", text)


def test_interrupted_corpus_is_finished_with_the_same_bytes(corpus: Path, tmp_path: Path) -> None:
    root = write_librispeech(tmp_path, splits=SMALL, progress=False)
    assert digests(root) == digests(corpus)
    kept = sorted(root.rglob("*.flac"))
    for path in kept[3:20]:
        path.unlink()
    written = kept[0].stat().st_mtime_ns
    write_librispeech(tmp_path, splits=SMALL, progress=False)
    assert digests(root) == digests(corpus)
    assert kept[0].stat().st_mtime_ns == written


def test_another_seed_says_something_else(corpus: Path, tmp_path: Path) -> None:
    sizes = {"dev-clean": SplitSize(1, 2)}
    root = write_librispeech(tmp_path, seed=1, splits=sizes, progress=False)
    assert set(transcripts(root, "dev-clean").values()).isdisjoint(islice(sentences(0), 27))


def test_folder_that_holds_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "LibriSpeech" / "train-clean-100").mkdir(parents=True)
    with pytest.raises(UserError, match="LibriSpeech: not empty and not written by this command"):
        write_librispeech(tmp_path, splits=SMALL, progress=False)
    assert [path.name for path in (tmp_path / "LibriSpeech").iterdir()] == ["train-clean-100"]


def test_folder_with_another_synthetic_corpus_is_refused(tmp_path: Path) -> None:
    sizes = {"dev-clean": SplitSize(1, 1)}
    write_librispeech(tmp_path, splits=sizes, progress=False)
    with pytest.raises(UserError, match=r"synthetic\.json: another synthetic corpus is here"):
        write_librispeech(tmp_path, seed=1, splits=sizes, progress=False)


def test_more_speakers_than_voices_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="speakers: 500 asked for; espeak-ng has"):
        write_librispeech(tmp_path, splits={"dev-clean": SplitSize(500, 500)}, progress=False)
    assert not list(tmp_path.iterdir())


def test_split_without_speakers_is_refused() -> None:
    with pytest.raises(ValueError, match="expected at least one speaker"):
        SplitSize(speakers=3, utterances=2)


def test_missing_synthesiser_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    with pytest.raises(UserError, match=r'pip install "s3prl-gendistiller\[corpus\]"'):
        write_librispeech(tmp_path, splits=SMALL, progress=False)


def test_utterance_does_not_depend_on_what_was_said_before() -> None:
    engine = Espeak()
    voices = [f"en-us+{variant}" for variant in engine.variants()]
    first = [engine.speak("seven ships", voice) for voice in voices]
    again = [engine.speak("seven ships", voice) for voice in reversed(voices)][::-1]
    changed = [v for v, a, b in zip(voices, first, again, strict=True) if not np.array_equal(a.wav, b.wav)]
    assert not changed
    assert {speech.rate_hz for speech in first} == {22050}


def test_every_accent_takes_variants() -> None:
    engine = Espeak()
    spoken = [engine.speak("the river is wide", f"{accent}+m3").wav.tobytes() for accent in ACCENTS]
    assert len(set(spoken)) == len(ACCENTS)
    assert min(map(len, spoken)) > 2 * 22050 / 2


def test_hard_voices_are_not_offered() -> None:
    variants = Espeak().variants()
    assert len(variants) >= 80
    assert len(set(variants)) == len(variants)
    hard = re.compile("whisper|robosoft|croak|storm|demonic|unirobot", re.IGNORECASE)
    assert not [name for name in variants if hard.match(name)]


def test_unknown_voice_is_named() -> None:
    with pytest.raises(UserError, match=r"voice 'xx-nowhere': unknown to espeak-ng"):
        Espeak().speak("hello", "xx-nowhere")

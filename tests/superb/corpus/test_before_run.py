"""Damaged data of each of the ten tasks: `gendistiller data check` names it, and run_downstream.py does not start."""

from __future__ import annotations

import json
import os
import re
import shutil
import unicodedata
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from s3prl_gendistiller.cli import downstream, main
from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.superb.corpus.before_run import refuse_unfit
from s3prl_gendistiller.superb.corpus.check import need
from s3prl_gendistiller.superb.tasks import TASKS
from tests.bench import WORDS

AUDIO = {
    "pr": "LibriSpeech/train-clean-100/*/*/*.flac",
    "asr": "LibriSpeech/dev-clean/*/*/*.flac",
    "ks": "speech_commands_v0.01/bed/*.wav",
    "qbe": "quesst14Database/Audio/*.wav",
    "sid": "VoxCeleb1/dev/wav/*/*/*.wav",
    "asv": "VoxCeleb1/test/wav/*/*/*.wav",
    "sd": "Libri2Mix/train/*.wav",
    "ic": "fluent_speech_commands_dataset/wavs/*/*/*.wav",
    "sf": "SNIPS/train/*.wav",
    "er": "IEMOCAP/Session3/sentences/wav/*/*.wav",
}
Change = Callable[[Path], object]


def rewritten(path: Path, change: Callable[[np.ndarray], np.ndarray], rate_hz: int = 16_000) -> None:
    wav, _ = soundfile.read(path)
    soundfile.write(path, change(wav), rate_hz)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def piped(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def line(name: str, old: str, new: str) -> Change:
    """Changes a list below the folder of the corpora: the first occurrence of a text."""

    def change(root: Path) -> None:
        path = next(root.glob(name))
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new, 1))

    return change


def added(name: str, text: str) -> Change:
    def change(root: Path) -> None:
        with next(root.glob(name)).open("a") as file:
            file.write(text)

    return change


def spoilt(*keys: str | int, to: object) -> Change:
    """Changes a value of one fold's list of IEMOCAP."""

    def change(root: Path) -> None:
        path = root / "IEMOCAP/meta_data/Session1/test_meta_data.json"
        content = inner = json.loads(path.read_text())
        for key in keys[:-1]:
            inner = inner[key]
        inner[keys[-1]] = to
        path.write_text(json.dumps(content))

    return change


def fifo(name: str) -> Change:
    return lambda root: piped(root / name)


@pytest.fixture
def data(ten: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = tmp_path / "data"
    shutil.copytree(ten, root)
    for scp in root.glob("Libri2Mix/*/wav.scp"):
        scp.write_text(scp.read_text().replace(str(ten.resolve()), str(root.resolve())))
    monkeypatch.setenv("SUPERB_DATA", str(root))
    return root


def said_of(name: str, capsys: pytest.CaptureFixture[str]) -> tuple[str, str]:
    """What is said by the check, and by the look before a run."""
    capsys.readouterr()
    assert main(["data", "check", "--tasks", name, "--no-progress"]) == 2
    checked = capsys.readouterr().out
    try:
        refuse_unfit(TASKS[name].downstream, need(TASKS[name]).config)
    except UserError as error:
        return checked, str(error)
    return checked, ""


@pytest.mark.parametrize("name", TASKS)
def test_right_data_is_let_through(name: str, ten: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUPERB_DATA", str(ten))
    refuse_unfit(TASKS[name].downstream, need(TASKS[name]).config)
    refuse_unfit("no_task_of_superb", {})
    refuse_unfit("asr", {"datarc": {}})


@pytest.mark.parametrize("name", TASKS)
def test_audio_that_is_not_as_a_task_takes_it_is_named_before_the_run(
    name: str, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = sorted(data.glob(AUDIO[name]))
    for damage, expected in (
        (lambda path: rewritten(path, lambda wav: wav, 44_100), "44100 Hz, 1 channel; expected 16000 Hz"),
        (lambda path: rewritten(path, lambda wav: np.stack([wav, wav], 1)), "16000 Hz, 2 channels; expected 16000 Hz"),
        (lambda path: rewritten(path, lambda wav: wav[:300]), "300 samples at 16000 Hz; expected at least 400"),
        (lambda path: path.write_bytes(b""), "hold"),
        (cut, "header s|damaged"),
        (piped, "is a named pipe"),
    ):
        kept = files[-1].read_bytes()
        damage(files[-1])
        resampled = name in ("ks", "qbe", "asv") and "expected 16000 Hz" in expected
        for said in said_of(name, capsys):
            assert (bool(re.search(expected, said)) and str(files[-1]) in said) != resampled, (expected, said)
        files[-1].unlink()
        files[-1].write_bytes(kept)


FAULTS: list[tuple[str, Change, str]] = [
    ("asr", line("LibriSpeech/dev-clean/*/*/*.txt", WORDS[0].upper(), "É"), "letters that .*char.dict lacks .É"),
    ("pr", line("LibriSpeech/dev-clean/*/*/*.txt", WORDS[0].upper(), "ZYX"), "1 words are not in .*lexicon.txt: ZYX"),
    ("asr", lambda root: next(root.glob("LibriSpeech/dev-clean/*/*/*.txt")).unlink(), "s3prl looks for the transc"),
    ("asr", lambda root: next(root.glob("LibriSpeech/dev-clean/*/*/*.txt")).write_text(""), "have no line in a .trans"),
    ("pr", lambda root: next(root.glob("LibriSpeech/dev-clean/*/*/*.txt")).write_text(""), "have no line in a .trans"),
    ("asr", line("LibriSpeech/len_for_bucket/dev*.csv", ".flac,", ".flac,x"), "1 lengths are no numbers .*'x"),
    ("ks", lambda root: shutil.copytree(*[root / "speech_commands_test_set_v0.01" / n for n in ("yes", "bed")]), "bed"),
    (
        "ks",
        lambda root: rewritten(root / "speech_commands_v0.01/_background_noise_/noise.wav", lambda w: w[:9_000]),
        "",
    ),
    ("qbe", added("quesst14Database/scoring/language_key_dev.lst", "a b.wav nnenglish\n"), "line 3: found 'a b.wav nn"),
    ("sid", line("VoxCeleb1/veri_test_class.txt", "1 id10001", "1 id20001"), "names 1 audio files that are not there"),
    ("sid", line("VoxCeleb1/veri_test_class.txt", "1 id10001", "7 id10001"), "line 1: found '7 id10001"),
    ("sid", added("VoxCeleb1/veri_test_class.txt", "1 id10001/clip/00001.wav\n"), "names 1 audio files more than once"),
    ("asv", lambda root: (root / "VoxCeleb1/dev/wav/lost+found").mkdir(), "lost.found hold no audio, but s3prl counts"),
    ("asv", lambda root: (root / "VoxCeleb1/voxceleb1_test_v2.txt").write_text("1 a b c\n"), "line 1: found '1 a b c'"),
    ("sd", line("Libri2Mix/train/wav.scp", "mix0 ", "mix0 touch x | "), "not there|expected the path of a file"),
    ("sd", lambda root: (root / "Libri2Mix/train/wav.scp").write_text("mix0 touch x |\n"), "nothing is run"),
    ("sd", line("Libri2Mix/dev/reco2dur", "mix0 3.0\n", ""), "reco2dur: no line for 1 recordings: mix0"),
    ("sd", line("Libri2Mix/dev/reco2dur", "mix0 3.0", "mix0 9.0"), "mix0 lasts 9.0 s, but .* only 3.00 s"),
    ("sd", line("Libri2Mix/dev/utt2spk", "mix0_a_1 mix0_a\n", ""), "utt2spk: no line for 1 names of segments"),
    ("sd", added("Libri2Mix/dev/segments", "x mix0 0 1\n"), "1 recordings have more than 2 speakers: mix0"),
    ("sd", added("Libri2Mix/dev/segments", "x mix0 0\n"), "found 'x mix0 0', expected NAME RECORDING START END"),
    ("ic", line("fluent*/data/test_data.csv", ",activate,", ",explode,"), "action is explode, which no line of train"),
    ("ic", line("fluent*/data/valid_data.csv", ",activate,", ",,"), "line 2: no path, action, object or location"),
    ("ic", line("fluent*/data/train_data.csv", "action", "axion"), "no column action"),
    (
        "sf",
        line("SNIPS/all.iob.snips.txt", "O O artist", "O O painter"),
        "has the slot painter, which .*slots.txt lacks",
    ),
    ("sf", line("SNIPS/all.iob.snips.txt", "\tO", " O"), "expected BOS WORDS EOS, tab, slots"),
    ("er", line("IEMOCAP/meta_data/Session1/test*.json", '"neu", ', '"joy", '), "has the label joy, expected neu, hap"),
    (
        "er",
        lambda root: next(root.glob("IEMOCAP/meta_data/Session1/test*")).write_text("[]"),
        "expected labels and meta",
    ),
    ("er", spoilt("labels", "neu", to=7), "test_meta_data.json: labels.neu is 7, expected a whole number from 0 to 3"),
    ("er", spoilt("labels", "neu", to=-1), "labels.neu is -1, expected a whole number"),
    ("er", spoilt("labels", "neu", to="zero"), "labels.neu is 'zero', expected a whole number"),
    ("er", spoilt("labels", "neu", to=True), "labels.neu is True, expected a whole number"),
    ("er", spoilt("labels", to=["neu", "hap", "ang", "sad"]), "expected labels and meta_data, a mapping and a list"),
    ("er", spoilt("meta_data", 1, "path", to=3.5), "entry 2 of meta_data is .*3.5.*, expected a path and a label"),
    ("er", spoilt("meta_data", 0, "label", to=[]), "entry 1 of meta_data is .*, expected a path and a label"),
    ("er", spoilt("meta_data", 0, to=None), "entry 1 of meta_data is None, expected a path and a label"),
    ("er", spoilt("meta_data", 0, "path", to=""), "entry 1: found '', expected the path of an audio file"),
    ("er", spoilt("meta_data", 0, "path", to="x" * 5000), "names 1 audio files that are not there"),
    ("sid", added("VoxCeleb1/veri_test_class.txt", "1 foo.wav\n"), "found '1 foo.wav', expected 1 .train., 2 .dev."),
    (
        "asr",
        line("LibriSpeech/len_for_bucket/dev*.csv", ".flac,", ".flac," + "9" * 5000),
        "csv line 2: 1 lengths are no",
    ),
    ("asr", line("LibriSpeech/len_for_bucket/dev*.csv", "label", "length"), "has the column length more than once"),
    ("ic", line("fluent*/data/train_data.csv", "speakerId", "action"), "has the column action more than once"),
    ("sd", line("Libri2Mix/dev/segments", "0.20 1.80", "nan nan"), "segments: 1 lines without seconds .*mix0 nan nan"),
    ("sd", line("Libri2Mix/dev/segments", "0.20 1.80", "-5 1"), "segments: 1 lines without seconds .*mix0 -5 1"),
    ("sd", line("Libri2Mix/dev/segments", "0.20 1.80", "5 1"), "segments: 1 lines without seconds .*mix0 5 1"),
    ("sd", line("Libri2Mix/dev/segments", "0.20 1.80", "0 inf"), "segments: 1 lines without seconds .*mix0 0 inf"),
    ("sd", line("Libri2Mix/dev/segments", "0.20 1.80", "one 2"), "segments: 1 lines without seconds .*mix0 one 2"),
    ("sd", line("Libri2Mix/dev/reco2dur", "mix0 3.0", "mix0 0"), "mix0 lasts '0', expected seconds above 0"),
    ("sd", line("Libri2Mix/dev/reco2dur", "mix0 3.0", "mix0 " + "9" * 500), "mix0 lasts '99.*, expected seconds above"),
    ("sd", lambda root: (root / "Libri2Mix/test/rttm").write_text("garbage\n"), "found no line SPEAKER"),
    ("sd", fifo("Libri2Mix/test/segments"), "segments: is a named pipe"),
    (
        "sf",
        line("SNIPS/all.iob.snips.txt", "O O artist", "O artist"),
        "2 words .* and 1 slots between O and the intent",
    ),
    (
        "sf",
        line("SNIPS/all.iob.snips.txt", "O O artist", "O O O artist"),
        "2 words .* and 3 slots between O and the int",
    ),
    (
        "qbe",
        lambda root: next(root.glob("quesst14Database/scoring/*dev/*.rttm")).write_text("garbage\n"),
        "dev.rttm: found no line LEXEME DOCUMENT",
    ),
    (
        "qbe",
        added("quesst14Database/scoring/*eval/*.rttm", "LEXEME d 1\n"),
        "rttm line 3: found 'LEXEME d 1', expected",
    ),
    ("qbe", fifo("quesst14Database/scoring/groundtruth_quesst14_dev/quesst14_dev.rttm"), "rttm: is a named pipe"),
    ("pr", lambda root: (root / "LibriSpeech/lexicon.txt").write_text(""), "lexicon.txt: holds no word"),
    ("pr", added("LibriSpeech/lexicon.txt", "ZYX ZZ9\n"), "the word ZYX has the phoneme ZZ9"),
    ("pr", added("LibriSpeech/lexicon.txt", "ZYX\n"), "the word ZYX has no phoneme"),
    ("pr", fifo("LibriSpeech/lexicon.txt"), "lexicon.txt: is a named pipe"),
]


@pytest.mark.parametrize(("name", "damage", "expected"), FAULTS)
def test_lists_that_s3prl_would_fail_on_are_named_before_the_run(
    name: str, damage: Change, expected: str, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damage(data)
    for said in said_of(name, capsys):
        assert re.search(expected or "9000 samples at 16 kHz, expected 16000", said), said


def test_what_s3prl_passes_over_is_said_and_stops_no_run(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line("SNIPS/all.iob.snips.txt", "Ivy-train-0 ", "Zoe-train-0 ")(data)
    checked, refused = said_of("sf", capsys)
    assert "train: 1 utterances have no line in" in checked and "Ivy-train-0.wav" in checked and refused == ""
    (data / "SNIPS/valid/Amy-valid-0.wav").rename(data / "SNIPS/valid/Amy-valid-0.mp3")
    checked, refused = said_of("sf", capsys)
    assert "all.iob.snips.txt: 1 lines have no .wav file in" in checked and "out: Amy-valid-0" in checked
    assert refused == "" and "left out: Amy-valid-0" in capsys.readouterr().err


def test_a_name_in_another_unicode_form_is_told_from_a_missing_one(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = data / "fluent_speech_commands_dataset"
    for form in ("NFC", "NFD"):
        name = unicodedata.normalize(form, "wavs/speakers/train/é.wav")
        if form == "NFC":
            line("fluent*/data/train_data.csv", "wavs/speakers/train/0.wav", name)(data)
        else:
            (root / "wavs/speakers/train/0.wav").rename(root / name)
    for said in said_of("ic", capsys):
        assert "has another case or Unicode form: rename it" in said


def test_run_downstream_stops_before_it_calls_the_host(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    path = data / "SNIPS/train/Ivy-train-0.wav"
    rewritten(path, lambda wav: wav, 44_100)
    called: list[object] = []
    arguments = ["-m", "train", "-u", "fbank", "-d", "ctc", "-c", "downstream_runs/ctc/snips_small.yaml", "-n", "x"]
    assert downstream.main(arguments, called.append) == 2
    (said,) = (text for text in capsys.readouterr().err.splitlines() if text.startswith("error: "))
    assert str(path) in said and "44100 Hz" in said and called == [] and not (tmp_path / "result").exists()
    rewritten(path, lambda wav: wav)
    assert downstream.main(arguments, called.append) == 0 and len(called) == 1
    assert json.loads(json.dumps(called))[0][:2] == ["-m", "train"]

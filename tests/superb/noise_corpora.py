"""The ten tasks' corpora in modulated noise, as small as s3prl's loaders accept, in their official layouts."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile

from tests.bench import WORDS, write_corpus

RATE = 16_000
KEYWORDS = ("yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go")
EMOTIONS = ("neu", "hap", "ang", "sad")
RNG = np.random.default_rng(7)


def write_ten(root: Path) -> Path:
    """Writes everything below `root`, the folder that SUPERB_DATA names."""
    write_corpus(root)
    phones = ("AA1", "B", "K", "IY0")
    lexicon = [f"{word} {' '.join(phones[: 1 + index])}" for index, word in enumerate(WORDS)]
    (root / "LibriSpeech/lexicon.txt").write_text("\n".join(lexicon) + "\n")
    _write_speech_commands(root)
    _write_voxceleb(root / "VoxCeleb1")
    _write_fluent(root / "fluent_speech_commands_dataset")
    _write_iemocap(root / "IEMOCAP")
    _write_snips(root / "SNIPS")
    _write_quesst(root / "quesst14Database")
    for split, count in (("train", 3), ("dev", 2), ("test", 2)):
        _write_mixtures(root / "Libri2Mix" / split, count)
    return root


def _noise(path: Path, pitch: float, seconds: float = 0.7) -> None:
    """A tone in noise: classes differ by pitch."""
    path.parent.mkdir(parents=True, exist_ok=True)
    time = np.arange(int(seconds * RATE)) / RATE
    wave = 0.2 * np.sin(2 * np.pi * pitch * time) + 0.02 * RNG.standard_normal(len(time))
    soundfile.write(path, wave, RATE)


def _speakers(dev: bool) -> Iterator[str]:
    """Names that Speech Commands' hash puts into the dev or the train set."""
    for number in range(100_000):
        name = f"{number:08x}"
        share = int(hashlib.sha1(name.encode()).hexdigest(), 16) % 2**27 * 100 / (2**27 - 1)
        if share < 10 if dev else share >= 20:
            yield name


def _write_speech_commands(root: Path) -> None:
    train, dev = _speakers(dev=False), _speakers(dev=True)
    for index, word in enumerate((*KEYWORDS, "bed")):
        for speaker in (next(train), next(train), next(dev)):
            _noise(root / "speech_commands_v0.01" / word / f"{speaker}_nohash_0.wav", 200 + 80 * index)
    for split in ("speech_commands_v0.01/_background_noise_", "speech_commands_test_set_v0.01/_silence_"):
        _noise(root / split / "noise.wav", 50, 1.2)
    for index, word in enumerate((*KEYWORDS, "_unknown_")):
        _noise(root / "speech_commands_test_set_v0.01" / word / "a_nohash_0.wav", 200 + 80 * index)


def _write_voxceleb(root: Path) -> None:
    split_lines, trials = [], {"dev": [], "test": []}
    for split, speakers in (("dev", (10001, 10002, 10003)), ("test", (10270, 10271))):
        for speaker in speakers:
            for number in range(1, 5):
                name = f"id{speaker}/clip/{number:05d}.wav"
                _noise(root / split / "wav" / name, 100 + 40 * (speaker % 100), 1.2)
                split_lines.append(f"{max(1, number - 1)} {name}")
        for first, second in zip(speakers, speakers[1:], strict=False):
            trials[split].append(f"1 id{first}/clip/00001.wav id{first}/clip/00002.wav")
            trials[split].append(f"0 id{first}/clip/00001.wav id{second}/clip/00002.wav")
    (root / "dev_meta_data").mkdir()
    (root / "dev_meta_data/dev_speaker_ids.txt").write_text("id10001\nid10002\nid10003\n")
    (root / "dev_meta_data/dev_meta_data.txt").write_text("\n".join(trials["dev"]) + "\n")
    (root / "veri_test_class.txt").write_text("\n".join(split_lines) + "\n")
    (root / "voxceleb1_test_v2.txt").write_text("\n".join(trials["test"]) + "\n")


def _write_fluent(root: Path) -> None:
    (root / "data").mkdir(parents=True)
    for split, count in (("train", 6), ("valid", 3), ("test", 3)):
        with (root / "data" / f"{split}_data.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["", "path", "speakerId", "transcription", "action", "object", "location"])
            for index in range(count):
                name = f"wavs/speakers/{split}/{index}.wav"
                _noise(root / name, 200 + 150 * (index % 3))
                action = ("activate", "deactivate", "increase")[index % 3]
                writer.writerow([index, name, split, "words", action, "lights", "none"])


def _write_iemocap(root: Path) -> None:
    files = {}
    for session in range(1, 6):
        files[session] = []
        for index, emotion in enumerate(EMOTIONS):
            name = f"Session{session}/sentences/wav/Ses0{session}F_impro01/Ses0{session}F_impro01_F{index:03d}.wav"
            _noise(root / name, 200 + 100 * index)
            files[session].append({"path": name, "label": emotion, "speaker": f"Ses0{session}F"})
    labels = {emotion: index for index, emotion in enumerate(EMOTIONS)}
    for session in files:
        folder = root / "meta_data" / f"Session{session}"
        folder.mkdir(parents=True)
        rest = [entry for other in files if other != session for entry in files[other]]
        for part, entries in (("train", rest), ("test", files[session])):
            (folder / f"{part}_meta_data.json").write_text(json.dumps({"labels": labels, "meta_data": entries}))


def _write_snips(root: Path) -> None:
    lines = []
    for split, speaker in (("train", "Ivy"), ("valid", "Amy"), ("test", "Emma")):
        for index in range(6 if split == "train" else 2):
            name = f"{speaker}-{split}-{index}"
            _noise(root / split / f"{name}.wav", 200 + 100 * (index % 2), 1.0)
            artist = ("BOWIE", "ABBA")[index % 2]
            lines.append(f"{name} BOS PLAY {artist} EOS\tO O artist PlayMusic")
    (root / "all.iob.snips.txt").write_text("\n".join(lines) + "\n")
    (root / "slots.txt").write_text("O\nartist\ntrack")


def _write_quesst(root: Path) -> None:
    keys: dict[str, list[str]] = {"utterances": [], "dev": [], "eval": []}
    for index in range(4):
        _noise(root / f"Audio/quesst14_{index:05d}.wav", 200 + 150 * index)
        keys["utterances"].append(f"quesst14Database/Audio/quesst14_{index:05d}.wav nnenglish")
    for split in ("dev", "eval"):
        truth = root / "scoring" / f"groundtruth_quesst14_{split}"
        truth.mkdir(parents=True)
        lines = []
        for index in range(2):
            name = f"quesst14_{split}_{index:04d}"
            _noise(root / f"{split}_queries/{name}.wav", 200 + 150 * index, 0.4)
            keys[split].append(f"quesst14Database/{split}_queries/{name}.wav nnenglish")
            lines.append(f"LEXEME quesst14_{index:05d} 1 0.00 0.70 {name} lex <NA> <NA>")
        (truth / f"quesst14_{split}.rttm").write_text("\n".join(lines) + "\n")
    for name, lines in keys.items():
        (root / "scoring" / f"language_key_{name}.lst").write_text("\n".join(lines) + "\n")


def _write_mixtures(folder: Path, count: int) -> None:
    folder.mkdir(parents=True)
    tables: dict[str, list[str]] = {name: [] for name in ("wav.scp", "segments", "utt2spk", "reco2dur", "rttm")}
    speakers: dict[str, list[str]] = {}
    for index in range(count):
        recording = f"mix{index}"
        wave = 0.01 * RNG.standard_normal(3 * RATE)
        for speaker, (start, end, pitch) in {"a": (0.2, 1.8, 220), "b": (1.2, 2.8, 700)}.items():
            span = slice(int(start * RATE), int(end * RATE))
            wave[span] += 0.2 * np.sin(2 * np.pi * pitch * np.arange(span.stop - span.start) / RATE)
            name, utterance = f"{recording}_{speaker}", f"{recording}_{speaker}_1"
            tables["segments"].append(f"{utterance} {recording} {start:.2f} {end:.2f}")
            tables["utt2spk"].append(f"{utterance} {name}")
            tables["rttm"].append(f"SPEAKER {recording} 1 {start:.2f} {end - start:.2f} <NA> <NA> {name} <NA>")
            speakers.setdefault(name, []).append(utterance)
        soundfile.write(folder / f"{recording}.wav", wave, RATE)
        tables["wav.scp"].append(f"{recording} {(folder / f'{recording}.wav').resolve()}")
        tables["reco2dur"].append(f"{recording} 3.0")
    tables["spk2utt"] = [" ".join([name, *utterances]) for name, utterances in speakers.items()]
    for name, lines in tables.items():
        (folder / name).write_text("\n".join(lines) + "\n")

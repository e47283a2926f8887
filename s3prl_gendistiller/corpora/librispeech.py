"""A small corpus in LibriSpeech's layout, spoken by espeak-ng: the whole road without a download.

    OUT/LibriSpeech/SPEAKERS.TXT
    OUT/LibriSpeech/<split>/<speaker>/<chapter>/<speaker>-<chapter>-<nnnn>.flac
    OUT/LibriSpeech/<split>/<speaker>/<chapter>/<speaker>-<chapter>.trans.txt
    OUT/LibriSpeech/len_for_bucket/<split>.csv

No two splits share a speaker (a variant of the synthesiser) or a sentence.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import random
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile
import soxr
from tqdm import tqdm

from s3prl_gendistiller.corpora.espeak import Espeak
from s3prl_gendistiller.corpora.sentences import sentences
from s3prl_gendistiller.distill.audio import SAMPLE_RATE
from s3prl_gendistiller.distill.manifest import DEFAULT_FOLDER, replacing, write_manifest
from s3prl_gendistiller.errors import UserError

FOLDER = "LibriSpeech"
FORMAT_VERSION = 1
_STAMP = "synthetic.json"
_FIRST_SPEAKER = 1001
_CHAPTER_UTTERANCES = 10
_PEAK = 0.5


@dataclasses.dataclass(frozen=True)
class SplitSize:
    """How large a split is; utterances are shared out evenly among its speakers."""

    speakers: int
    utterances: int

    def __post_init__(self) -> None:
        if not 1 <= self.speakers <= self.utterances:
            raise ValueError(f"{self}: expected at least one speaker, and an utterance for each")


TINY = {
    "train-clean-100": SplitSize(speakers=12, utterances=240),
    "dev-clean": SplitSize(speakers=4, utterances=24),
    "test-clean": SplitSize(speakers=4, utterances=24),
}
"""About 13 minutes of speech, spoken in a few seconds."""


class Speaker(NamedTuple):
    """One synthetic speaker."""

    id: int
    split: str
    voice: str


class Line(NamedTuple):
    """One utterance that is to be spoken."""

    name: str
    folder: Path
    speaker: Speaker
    text: str


def write_librispeech(
    out: str | Path,
    *,
    seed: int = 0,
    splits: Mapping[str, SplitSize] = TINY,
    accents: tuple[str, ...] = ("en-us",),
    progress: bool = True,
) -> Path:
    """Write the corpus to `out/LibriSpeech` and return that folder.

    The same arguments give the same bytes. Files that are there already are kept: repeating an interrupted
    call finishes it.

    Args:
        splits: folder name -> size.
        accents: voices of `espeak.ACCENTS`; each speaker gets one of them and a variant of its own.

    Raises:
        UserError: espeak-ng is absent; more speakers than variants; the folder holds something else.
    """
    root = Path(out) / FOLDER
    engine = Espeak()
    speakers = _speakers(engine.variants(), seed, splits, accents)
    lines = _lines(root, speakers, seed, splits)
    _claim(root, seed, splits, accents)
    for line in tqdm(lines, desc=f"speaking {root}", unit="utterance", disable=not progress):
        target = line.folder / f"{line.name}.flac"
        if not target.exists():
            _speak(engine, line, seed, target)
    for folder, chapter in itertools.groupby(lines, key=lambda line: line.folder):
        speaker_id, chapter_id = folder.parts[-2:]
        transcripts = "".join(f"{line.name} {line.text}\n" for line in chapter)
        _write_text(folder / f"{speaker_id}-{chapter_id}.trans.txt", transcripts)
    described = "".join(f"{s.id} | {s.split} | {s.voice}\n" for s in speakers)
    _write_text(root / "SPEAKERS.TXT", f"; synthetic speech\n;ID | SUBSET | VOICE\n{described}")
    write_manifest(root, root / DEFAULT_FOLDER, splits=list(splits), progress=progress)
    return root


def _claim(root: Path, seed: int, splits: Mapping[str, SplitSize], accents: tuple[str, ...]) -> None:
    """Mark a new folder with what it holds; refuse one that holds anything else, as the real LibriSpeech."""
    sizes = {name: dataclasses.asdict(size) for name, size in splits.items()}
    recipe = {"format": FORMAT_VERSION, "seed": seed, "accents": list(accents), "splits": sizes}
    stamp = root / _STAMP
    wanted = json.dumps(recipe, indent=2) + "\n"
    try:
        found = stamp.read_text(encoding="utf-8") if stamp.exists() else None
        occupied = found is None and root.exists() and any(root.iterdir())
    except OSError as error:
        raise UserError(f"{root}: cannot be read ({error.strerror}); choose another output folder") from error
    if occupied:
        raise UserError(f"{root}: not empty and not written by this command; choose another output folder")
    if found is not None and found != wanted:
        raise UserError(f"{stamp}: another synthetic corpus is here; remove it or choose another folder")
    if found is None:
        _write_text(stamp, wanted)


def _speakers(
    variants: list[str], seed: int, splits: Mapping[str, SplitSize], accents: tuple[str, ...]
) -> list[Speaker]:
    wanted = sum(size.speakers for size in splits.values())
    if wanted > len(variants):
        raise UserError(f"speakers: {wanted} asked for; espeak-ng has {len(variants)}; ask for fewer")
    rng = random.Random(f"speakers/{seed}")
    voices = [f"{rng.choice(accents)}+{variant}" for variant in rng.sample(variants, wanted)]
    names = [name for name, size in splits.items() for _ in range(size.speakers)]
    ids = itertools.count(_FIRST_SPEAKER)
    return [Speaker(*speaker) for speaker in zip(ids, names, voices, strict=False)]


def _lines(root: Path, speakers: list[Speaker], seed: int, splits: Mapping[str, SplitSize]) -> list[Line]:
    """Every utterance of the corpus, chapter by chapter."""
    texts = sentences(seed)
    lines: list[Line] = []
    for split, size in splits.items():
        of_split = [speaker for speaker in speakers if speaker.split == split]
        for place, speaker in enumerate(of_split):
            for i in range(len(range(place, size.utterances, len(of_split)))):
                chapter = speaker.id * 100 + i // _CHAPTER_UTTERANCES
                folder = root / split / str(speaker.id) / str(chapter)
                name = f"{speaker.id}-{chapter}-{i % _CHAPTER_UTTERANCES:04d}"
                lines.append(Line(name, folder, speaker, next(texts)))
    return lines


def _speak(engine: Espeak, line: Line, seed: int, target: Path) -> None:
    """Say one line at 16 kHz, a little faster, higher or louder than the last time."""
    rng = random.Random(f"{seed}/{line.name}")
    rate_wpm, pitch, gain = rng.randint(145, 190), rng.randint(40, 60), rng.uniform(0.4, 1.0)
    spoken = engine.speak(line.text.lower(), line.speaker.voice, rate_wpm=rate_wpm, pitch=pitch)
    wav = soxr.resample(spoken.wav.astype(np.float32), spoken.rate_hz, SAMPLE_RATE)
    wav *= gain * _PEAK / max(1.0, float(np.abs(wav).max(initial=0)))
    with replacing(target) as part:
        soundfile.write(part, wav, SAMPLE_RATE, subtype="PCM_16", format="FLAC")


def _write_text(path: Path, text: str) -> None:
    with replacing(path) as part:
        part.write_text(text, encoding="utf-8", newline="\n")

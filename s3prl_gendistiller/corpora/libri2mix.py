"""Speaker diarization (`diarization`): conversations of two speakers, as Kaldi data folders.

    OUT/Libri2Mix/{train,dev,test}/wav/<recording>.wav
    OUT/Libri2Mix/{train,dev,test}/segments, utt2spk, spk2utt, reco2dur, rttm
    OUT/Libri2Mix/{train,dev,test}/turns/<recording>.rttm

There is no wav.scp: s3prl then takes the recordings from wav/, and the corpus can be moved. No two splits share a
speaker or a sentence. Turns follow each other with pauses and overlaps.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from s3prl_gendistiller.corpora.augment import QUIET, Scene
from s3prl_gendistiller.corpora.clips import Conversation, DialogTurn
from s3prl_gendistiller.corpora.espeak import Espeak
from s3prl_gendistiller.corpora.folder import CorpusPlan, size_fields
from s3prl_gendistiller.corpora.recording import duration_s, turns_file
from s3prl_gendistiller.corpora.sentences import RICH, sentences
from s3prl_gendistiller.corpora.voices import Studio, Style, draw_voices
from s3prl_gendistiller.formats.rttm import read_turns

FOLDER = "Libri2Mix"
SPLITS = ("train", "dev", "test")
_FIRST_SPEAKER = 2001
_TURNS = (4, 6)
_GAP_S = (-1.5, 0.5)
_STYLE = Style(rate_wpm=(145, 190), gain=(0.35, 1.0))
_SCENE = Scene(snr_db=(10, 30), room_share=0.6, tilt_db=(-1, 1), high_hz=(5000, 8000))
_LOUD = Scene(snr_db=(-5, 5), room_share=0.6, tilt_db=(-1, 1), high_hz=(5000, 8000))
_TURN = Scene(room_share=0.8, tilt_db=(-3, 3), high_hz=(3500, 8000), decay_s=(0.1, 0.5))
_ABOUT = """\
Synthetic speech (espeak-ng) in Kaldi's layout as s3prl's diarization reads it; no recording of a person.

Conversations of two speakers: turns of two to four seconds with overlaps and pauses between them; the times are
exact. The folder is named like what it stands in for: Libri2Mix, which mixes two of LibriSpeech's readers from their
first second on. There is no `wav.scp`: s3prl takes the recordings from `wav/`, so the corpus can be moved.
"""
_ABOUT_MOVING = """
Each turn has a room and a microphone of its own, so that neither tells the speakers apart; the noise is about as loud
as the speech.
"""


class Size(NamedTuple):
    """Numbers of recordings and speakers in train, dev and test."""

    recordings: tuple[int, int, int]
    speakers: tuple[int, int, int]
    moving: bool | None = None  # whether each turn has a room and a microphone of its own, in louder noise


SIZES = {
    "tiny": Size(recordings=(4, 2, 2), speakers=(4, 2, 2)),
    "small": Size(recordings=(100, 16, 24), speakers=(40, 10, 12)),
    "medium": Size(recordings=(400, 40, 60), speakers=(50, 14, 16)),
    "bench": Size(recordings=(100, 16, 200), speakers=(40, 10, 32), moving=True),
}


def plans(engine: Espeak, size: str, seed: int) -> list[CorpusPlan]:
    """The corpus in one of `SIZES`."""
    shape = SIZES[size]
    voices = draw_voices(engine.variants(), f"{FOLDER}/{seed}", sum(shape.speakers))
    speakers = [(f"{_FIRST_SPEAKER + i}", voice) for i, voice in enumerate(voices)]
    studio, turns = Studio(seed, _LOUD if shape.moving else _SCENE), Studio(seed, _TURN if shape.moving else QUIET)
    texts = sentences(f"{FOLDER}/{seed}", RICH)
    clips: list[Conversation] = []
    for split, recordings, count in zip(SPLITS, shape.recordings, shape.speakers, strict=True):
        own, speakers = speakers[:count], speakers[count:]
        paths = (f"{split}/wav/{split}-{i:04d}.wav" for i in range(recordings))
        clips += [_conversation(studio, turns, path, own, texts) for path in paths]
    recipe = {"corpus": FOLDER, "seed": seed, "size": size_fields(shape)}
    about = _ABOUT + _ABOUT_MOVING if shape.moving else _ABOUT
    return [CorpusPlan(FOLDER, recipe, clips, lambda root: _texts(root, clips), about)]


def _conversation(
    studio: Studio, turns: Studio, path: str, speakers: Sequence[tuple[str, str]], texts: Iterator[str]
) -> Conversation:
    """Turns by two of the speakers, from the studio of the turns, played in one place of the other studio."""
    rng = studio.chance(path)
    pair = rng.sample(list(speakers), 2)
    parts = []
    for turn in range(rng.randint(*_TURNS)):
        name, voice = pair[turn % 2]
        gap_s = rng.uniform(0.0, 0.5) if turn == 0 else rng.uniform(*_GAP_S)
        spoken = turns.line(f"{path}/{turn}", voice, next(texts), style=_STYLE)
        parts.append(DialogTurn(name, spoken, gap_s))
    place = studio.place(path)
    assert place is not None  # the scene has noise
    return Conversation(path, tuple(parts), place)


def _texts(root: Path, clips: Sequence[Conversation]) -> dict[str, str]:
    """Kaldi's tables of each split, made from the turns that were written beside the recordings."""
    tables: dict[str, defaultdict[str, str]] = {split: defaultdict(str) for split in SPLITS}
    said: dict[str, defaultdict[str, list[str]]] = {split: defaultdict(list) for split in SPLITS}
    for clip in clips:
        audio = root / clip.path
        split, recording = clip.path.split("/")[0], audio.stem
        table = tables[split]
        table["rttm"] += turns_file(audio).read_text(encoding="utf-8")
        table["reco2dur"] += f"{recording} {duration_s(audio):.4f}\n"
        for number, turn in enumerate(read_turns(turns_file(audio))[recording]):
            utterance = f"{turn.speaker}_{recording}_{number}"
            said[split][turn.speaker].append(utterance)
            table["segments"] += f"{utterance} {recording} {turn.start_s:.3f} {turn.end_s:.3f}\n"
            table["utt2spk"] += f"{utterance} {turn.speaker}\n"
    for split, speakers in said.items():
        tables[split]["spk2utt"] = "".join(f"{name} {' '.join(sorted(said))}\n" for name, said in speakers.items())
    return {
        f"{split}/{name}": "".join(sorted(text.splitlines(keepends=True))) if name != "rttm" else text
        for split, table in tables.items()
        for name, text in table.items()
    }

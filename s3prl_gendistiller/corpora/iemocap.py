"""Emotion recognition (`emotion`) in IEMOCAP's layout, with the fold lists that s3prl's script makes of it.

    OUT/IEMOCAP/Session<n>/sentences/wav/<dialog>/<dialog>_<F or M><nnn>.wav
    OUT/IEMOCAP/Session<n>/dialog/EmoEvaluation/<dialog>.txt
    OUT/IEMOCAP/meta_data/Session<n>/{train,test}_meta_data.json

An emotion is a way of speaking: rate, pitch, range of the pitch, loudness and effort, with adjacent ranges. The words
do not depend on the emotion. No two sessions share a speaker or a sentence.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from s3prl_gendistiller.corpora.augment import Scene
from s3prl_gendistiller.corpora.espeak import Espeak
from s3prl_gendistiller.corpora.folder import CorpusPlan
from s3prl_gendistiller.corpora.recording import duration_s
from s3prl_gendistiller.corpora.sentences import RICH, sentences
from s3prl_gendistiller.corpora.voices import AMERICAN, Studio, Style, draw_voices
from s3prl_gendistiller.errors import UserError

FOLDER = "IEMOCAP"
SESSIONS = 5
LABELS = {"neu": 0, "hap": 1, "ang": 2, "sad": 3}
EMOTIONS = {
    "neu": Style((145, 180), (40, 56), (35, 55), (0.45, 0.75), (-0.5, 0.5)),
    "hap": Style((160, 205), (50, 72), (55, 90), (0.5, 0.9), (0.0, 1.5)),
    "ang": Style((165, 215), (42, 64), (30, 65), (0.7, 1.0), (1.0, 3.0)),
    "sad": Style((110, 155), (30, 48), (10, 40), (0.3, 0.55), (-2.5, -0.5)),
}
_RATINGS = {"neu": (3.0, 2.5, 2.5), "hap": (4.5, 3.5, 3.0), "ang": (1.5, 4.0, 4.0), "sad": (2.0, 2.0, 2.0)}
_SCENE = Scene(snr_db=(12, 30), room_share=0.5, decay_s=(0.1, 0.3), tilt_db=(-0.7, 0.7), high_hz=(6000, 8000))
_PAUSE_S = 0.5
_ABOUT = """\
Synthetic speech (espeak-ng) in IEMOCAP's layout; no recording of a person.

Five sessions of two speakers. An emotion is a way of speaking: rate, pitch, range of the pitch, loudness and
effort; the sentences are of one grammar for all. Only the four classes that s3prl uses occur, as often as each
other; the real corpus has actors in dialogs, more classes, and raters who disagree. `meta_data/` is what s3prl's
`IEMOCAP_preprocess.py` makes of the rest.
"""


class Size(NamedTuple):
    """Dialogs in a session, and turns of each speaker in a dialog."""

    dialogs: int
    turns: int


SIZES = {
    "tiny": Size(dialogs=1, turns=4),
    "small": Size(dialogs=3, turns=10),
    "medium": Size(dialogs=8, turns=16),
    "bench": Size(dialogs=6, turns=20),
}


class SessionUtterance(NamedTuple):
    """One utterance of a session."""

    session: int
    dialog: str
    name: str
    emotion: str
    text: str

    @property
    def path(self) -> str:
        """Below the corpus folder."""
        return f"Session{self.session}/sentences/wav/{self.dialog}/{self.name}.wav"


def plans(engine: Espeak, size: str, seed: int) -> list[CorpusPlan]:
    """The corpus in one of `SIZES`."""
    shape = SIZES[size]
    studio = Studio(seed, _SCENE)
    rng = studio.chance(FOLDER)
    texts = sentences(f"{FOLDER}/{seed}", RICH)
    clips, turns = [], []
    for session, voices in enumerate(_pairs(engine, seed), start=1):
        for number in range(1, shape.dialogs + 1):
            dialog = f"Ses{session:02d}F_impro{number:02d}"
            emotions = [emotion for emotion in EMOTIONS for _ in range(-(-2 * shape.turns // len(EMOTIONS)))]
            rng.shuffle(emotions)
            for i, emotion in enumerate(emotions[: 2 * shape.turns]):
                who = "FM"[i % 2]
                turn = SessionUtterance(session, dialog, f"{dialog}_{who}{i // 2:03d}", emotion, next(texts))
                turns.append(turn)
                clips.append(studio.line(turn.path, voices[who], turn.text, style=EMOTIONS[emotion]))
    recipe = {"corpus": FOLDER, "seed": seed, "size": shape._asdict()}
    return [CorpusPlan(FOLDER, recipe, clips, lambda root: {**_dialogs(root, turns), **_folds(turns)}, _ABOUT)]


def _pairs(engine: Espeak, seed: int) -> list[dict[str, str]]:
    """A female and a male voice for each session."""
    variants = engine.variants()
    women = [variant for variant in variants if engine.is_female(variant)]
    men = [variant for variant in variants if variant not in women]
    if len(women) < SESSIONS:
        raise UserError(f"espeak-ng: {len(women)} women's voices, expected {SESSIONS}; reinstall espeakng-loader")
    drawn = [draw_voices(of, f"{FOLDER}/{who}/{seed}", SESSIONS, AMERICAN) for who, of in (("F", women), ("M", men))]
    return [{"F": woman, "M": man} for woman, man in zip(*drawn, strict=True)]


def _dialogs(root: Path, turns: Sequence[SessionUtterance]) -> dict[str, str]:
    """The evaluation of each dialog, which s3prl's script reads, and the words of the dialog."""
    listed: dict[str, str] = {}
    for turn in turns:
        base = f"Session{turn.session}/dialog"
        evaluation, words = f"{base}/EmoEvaluation/{turn.dialog}.txt", f"{base}/transcriptions/{turn.dialog}.txt"
        if evaluation not in listed:
            start_s = _PAUSE_S
            listed[evaluation], listed[words] = "% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]\n\n", ""
        end_s = start_s + duration_s(root / turn.path)
        ratings = ", ".join(f"{rating:.4f}" for rating in _RATINGS[turn.emotion])
        listed[evaluation] += f"[{start_s:.4f} - {end_s:.4f}]\t{turn.name}\t{turn.emotion}\t[{ratings}]\n\n"
        listed[words] += f"{turn.name} [{start_s:08.4f}-{end_s:08.4f}]: {turn.text.capitalize()}.\n"
        start_s = end_s + _PAUSE_S
    return listed


def _folds(turns: Sequence[SessionUtterance]) -> dict[str, str]:
    """Lists for each session: tests on the session, training on the other four."""
    listed = {}
    for session in range(1, SESSIONS + 1):
        for purpose in ("train", "test"):
            chosen = [turn for turn in turns if (turn.session == session) == (purpose == "test")]
            rows = [{"path": t.path, "label": t.emotion, "speaker": t.dialog.split("_")[0]} for t in chosen]
            content = json.dumps({"labels": LABELS, "meta_data": rows}, indent=1)
            listed[f"meta_data/Session{session}/{purpose}_meta_data.json"] = content + "\n"
    return listed

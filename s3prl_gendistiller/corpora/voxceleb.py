"""Speaker identification (`voxceleb1`) and verification (`sv_voxceleb1`) in VoxCeleb1's layout.

    OUT/VoxCeleb1/{dev,test}/wav/<speaker>/<session>/<nnnnn>.wav
    OUT/VoxCeleb1/veri_test_class.txt             identification: 1 train, 2 dev, 3 test, and a path
    OUT/VoxCeleb1/voxceleb1_test_v2.txt           verification: trials between speakers of test/
    OUT/VoxCeleb1/dev_meta_data/*.txt             verification: trials between speakers of dev/

A session is a room, a microphone and a kind of noise. Identification has all speakers in each split and splits by
session. Verification trains on the speakers of dev/ and tests on those of test/.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from typing import NamedTuple

from s3prl_gendistiller.corpora.augment import Scene
from s3prl_gendistiller.corpora.clips import Spoken
from s3prl_gendistiller.corpora.espeak import Espeak
from s3prl_gendistiller.corpora.folder import CorpusPlan, size_fields
from s3prl_gendistiller.corpora.sentences import RICH, sentences
from s3prl_gendistiller.corpora.voices import Studio, Style, draw_voices, in_session

FOLDER = "VoxCeleb1"
_FIRST_ID = {"dev": 10001, "test": 10270}
"""As in the real corpus. s3prl's label is the number less 10001, and its head has 1251 labels."""
_STYLE = Style(rate_wpm=(140, 185), pitch=(32, 68), gain=(0.3, 1.0))
_SCENE = Scene(snr_db=(4, 22), room_share=0.8, decay_s=(0.1, 0.5), tilt_db=(-3, 3), high_hz=(3500, 8000))
_MILD = Scene(snr_db=(10, 25), room_share=0.6, decay_s=(0.1, 0.4), tilt_db=(-1, 1), high_hz=(5500, 8000))
_ABOUT = """\
Synthetic speech (espeak-ng) in VoxCeleb1's layout; no recording of a person.

A speaker is a variant of the synthesiser with one accent, a session is a room, a microphone and a kind of noise;
an utterance is two sentences, four to eight seconds. Such speakers are easier to tell apart than people: the real
corpus has 1251 of them, recorded wherever they were interviewed. `speakers.txt` says which voice is which.
"""
_ABOUT_SAME_WORDS = """
All speakers of dev/ say the same sentences, one in each utterance, and so do those of test/; no sentence comes twice
from one speaker. A trial of two speakers compares one sentence, a trial of one speaker two sentences of two sessions,
so that words do not help. Rooms, microphones and noise differ less than in the other sizes.
"""


class Size(NamedTuple):
    """Numbers of speakers in dev/ and test/, of sessions of each, of utterances in a session, and of trials.

    Identification tests on the last sessions, and validates on the one before these.
    """

    speakers: tuple[int, int]
    sessions: int
    utterances: int
    trials: int
    test_sessions: int | None = None  # sessions of which identification tests; None for one
    same_words: bool | None = None  # whether all speakers say the same sentences, in milder rooms and noise


SIZES = {
    "tiny": Size(speakers=(4, 2), sessions=3, utterances=1, trials=12),
    "small": Size(speakers=(22, 10), sessions=6, utterances=2, trials=1000),
    "medium": Size(speakers=(48, 20), sessions=9, utterances=2, trials=3000),
    "bench": Size((44, 38), sessions=9, utterances=2, trials=4000, test_sessions=4, same_words=True),
}


class Utterance(NamedTuple):
    """Speaker, session and path of an utterance."""

    part: str
    speaker: str
    session: int
    path: str  # below `<part>/wav`
    voice: str

    @property
    def slot(self) -> str:
        """The session and the number, without the speaker."""
        return self.path.split("/", 1)[1]


def plans(engine: Espeak, size: str, seed: int) -> list[CorpusPlan]:
    """The corpus in one of `SIZES`."""
    shape = SIZES[size]
    studio = Studio(seed, _MILD if shape.same_words else _SCENE)
    utterances = _utterances(engine, shape, seed)
    texts = _texts(utterances, shape, seed)
    clips = [_clip(studio, utterance, text) for utterance, text in zip(utterances, texts, strict=True)]
    rng = studio.chance(FOLDER)
    tests, training = ([u for u in utterances if u.part == part] for part in ("test", "dev"))
    speakers = sorted({(u.speaker, u.part, u.voice) for u in utterances})
    first_test = shape.sessions - (shape.test_sessions or 1)
    purposes = [1] * (first_test - 1) + [2] + [3] * (shape.sessions - first_test)  # of sessions: 1 train, 2 dev, 3 test
    same_words = bool(shape.same_words)
    listed = {
        "veri_test_class.txt": "".join(f"{purposes[u.session]} {u.path}\n" for u in utterances),
        "voxceleb1_test_v2.txt": trials(tests, shape.trials, rng, same_words=same_words),
        "dev_meta_data/dev_meta_data.txt": trials(training, shape.trials, rng, same_words=same_words),
        "dev_meta_data/dev_speaker_ids.txt": "".join(f"{s}\n" for s, part, _ in speakers if part == "dev"),
        "speakers.txt": "".join(f"{' '.join(speaker)}\n" for speaker in speakers),
    }
    recipe = {"corpus": FOLDER, "seed": seed, "size": size_fields(shape)}
    about = _ABOUT + _ABOUT_SAME_WORDS if shape.same_words else _ABOUT
    return [CorpusPlan(FOLDER, recipe, clips, lambda root: listed, about)]


def trials(utterances: Sequence[Utterance], most: int, rng: random.Random, *, same_words: bool = False) -> str:
    """At most `most` pairs of utterances: half of one speaker in two sessions (1), half of two speakers (0).

    With `same_words`, the latter are the utterances of one name, which have one sentence.
    """
    pairs = list(itertools.combinations(utterances, 2))
    same = [pair for pair in pairs if pair[0].speaker == pair[1].speaker and pair[0].session != pair[1].session]
    different = [pair for pair in pairs if pair[0].speaker != pair[1].speaker]
    if same_words:
        different = [pair for pair in different if pair[0].slot == pair[1].slot]
    each = min(len(same), len(different), most // 2)
    chosen = [(1, pair) for pair in rng.sample(same, each)] + [(0, pair) for pair in rng.sample(different, each)]
    rng.shuffle(chosen)
    return "".join(f"{label} {first.path} {second.path}\n" for label, (first, second) in chosen)


def _utterances(engine: Espeak, shape: Size, seed: int) -> list[Utterance]:
    voices = iter(draw_voices(engine.variants(), f"{FOLDER}/{seed}", sum(shape.speakers)))
    found = []
    for part, speakers in zip(_FIRST_ID, shape.speakers, strict=True):
        for number in range(speakers):
            speaker, voice = f"id{_FIRST_ID[part] + number}", next(voices)
            for session, take in itertools.product(range(shape.sessions), range(shape.utterances)):
                path = f"{speaker}/session{session + 1:02d}/{take + 1:05d}.wav"
                found.append(Utterance(part, speaker, session, path, voice))
    return found


def _texts(utterances: Sequence[Utterance], shape: Size, seed: int) -> list[str]:
    """What is said in each utterance."""
    stream = sentences(f"{FOLDER}/{seed}", RICH)
    if not shape.same_words:
        return [f"{next(stream)}. {next(stream)}." for _ in utterances]
    said = {key: next(stream) for key in dict.fromkeys((u.part, u.slot) for u in utterances)}
    return [said[u.part, u.slot] for u in utterances]


def _clip(studio: Studio, utterance: Utterance, text: str) -> Spoken:
    place = studio.place(f"{utterance.speaker}/{utterance.session}")
    assert place is not None  # the scene has noise
    place = in_session(place, utterance.path)
    return studio.line(f"{utterance.part}/wav/{utterance.path}", utterance.voice, text, style=_STYLE, place=place)

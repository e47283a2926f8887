"""Keyword spotting (`speech_commands`) in the layout of Speech Commands v0.01.

    OUT/speech_commands_v0.01/<word>/<speaker>_nohash_<take>.wav      one second each
    OUT/speech_commands_v0.01/_background_noise_/*.wav
    OUT/speech_commands_v0.01/testing_list.txt, validation_list.txt
    OUT/speech_commands_test_set_v0.01/<one of 12 classes>/*.wav

s3prl decides by a hash of the speaker's name whether a clip is for training, validation or neither. Names are chosen
by that hash. No two splits share a speaker; the words are the same.
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from s3prl_gendistiller.corpora.augment import Scene
from s3prl_gendistiller.corpora.clips import Clip, Hush, Spoken
from s3prl_gendistiller.corpora.espeak import Espeak
from s3prl_gendistiller.corpora.folder import CorpusPlan
from s3prl_gendistiller.corpora.voices import Studio, Style, draw_voices
from s3prl_gendistiller.distill.audio import SAMPLE_RATE

FOLDER = "speech_commands_v0.01"
TEST_FOLDER = "speech_commands_test_set_v0.01"
KEYWORDS = ("yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go")
OTHERS = (
    *("bed", "bird", "cat", "dog", "eight", "five", "four", "happy", "house", "marvin"),
    *("nine", "one", "seven", "sheila", "six", "three", "tree", "two", "wow", "zero"),
)
NOISES = "_background_noise_"
UNKNOWN, SILENCE = "_unknown_", "_silence_"
SPLITS = ("train", "valid", "test")
_LARGEST_HASH = 2**27 - 1
_STYLE = Style(rate_wpm=(120, 180), pitch=(30, 70), gain=(0.3, 1.0))
_SCENE = Scene(snr_db=(2, 25), room_share=0.5, tilt_db=(-1.5, 1.5), high_hz=(4500, 8000), speed=(0.9, 1.1))
_ABOUT = """\
Synthetic speech (espeak-ng) in the layout of Speech Commands v0.01; no recording of a person.

One-second clips of the 10 keywords and the 20 other words; the background noise is synthetic too, and its files
have names of their own. Training, validation and test share no speaker. The real corpus has 1881 people
and 64,727 clips, among them misheard and cut words.
"""


class Size(NamedTuple):
    """Sizes of training, validation and test."""

    speakers: tuple[int, int, int]
    takes: tuple[int, int, int]  # times that each speaker says each keyword
    others: tuple[int, int, int]  # number of other words that each speaker says once
    silences: int  # clips without speech in the test set
    noise_s: int  # length of each background noise


SIZES = {
    "tiny": Size(speakers=(4, 2, 2), takes=(1, 1, 1), others=(3, 2, 2), silences=3, noise_s=2),
    "small": Size(speakers=(30, 6, 10), takes=(2, 2, 2), others=(6, 4, 3), silences=20, noise_s=20),
    "medium": Size(speakers=(50, 10, 14), takes=(4, 2, 3), others=(16, 5, 6), silences=40, noise_s=60),
    "bench": Size(speakers=(36, 10, 32), takes=(2, 2, 6), others=(6, 4, 6), silences=192, noise_s=20),
}


def plans(engine: Espeak, size: str, seed: int) -> list[CorpusPlan]:
    """The corpus and its test set, in one of `SIZES`."""
    shape = SIZES[size]
    studio = Studio(seed, _SCENE)
    voices = iter(draw_voices(engine.variants(), f"{FOLDER}/{seed}", sum(shape.speakers)))
    spoken: dict[str, list[Spoken]] = {}
    for i, split in enumerate(SPLITS):
        named = [(next(voices), speaker_name(split, f"{seed}/{n}")) for n in range(shape.speakers[i])]
        spoken[split] = list(_clips(studio, named, shape.takes[i], shape.others[i]))
    recipe = {"corpus": FOLDER, "seed": seed, "size": shape._asdict()}
    noises = background(seed, shape.noise_s)
    lists = {
        "testing_list.txt": "".join(f"{clip.path}\n" for clip in spoken["test"]),
        "validation_list.txt": "".join(f"{clip.path}\n" for clip in spoken["valid"]),
    }
    everything = [*itertools.chain(*spoken.values()), *noises]
    tests = [dataclasses.replace(clip, path=_test_path(clip.path)) for clip in spoken["test"]]
    quiet = silences(seed, shape.silences)
    return [
        CorpusPlan(FOLDER, recipe, everything, lambda root: lists, _ABOUT),
        CorpusPlan(TEST_FOLDER, {**recipe, "corpus": TEST_FOLDER}, [*tests, *quiet], lambda root: {}, _ABOUT),
    ]


def background(seed: int, seconds: int) -> list[Clip]:
    """Six synthetic background noises, from which s3prl cuts its training examples of silence."""
    kinds = {
        "white_noise": {"slope": 0.0},
        "pink_noise": {"slope": 1.0},
        "brown_noise": {"slope": 2.0},
        "mains_hum": {"slope": 1.0, "hum_hz": 50.0},
        "gusts": {"slope": 1.6, "change_hz": 0.3},
        "rattle": {"slope": 0.4, "change_hz": 6.0},
    }
    return [Hush(f"{NOISES}/{name}.wav", seconds, seed=seed, **kind) for name, kind in kinds.items()]


def silences(seed: int, clips: int) -> list[Clip]:
    """One-second clips without speech for the test set."""
    rng = Studio(seed).chance("silences")
    drawn = ((rng.uniform(0, 2), rng.uniform(0.002, 0.1), rng.choice((0, 0.3, 6))) for _ in range(clips))
    return [Hush(f"{SILENCE}/{i:03d}.wav", 1, *noise, seed=seed) for i, noise in enumerate(drawn)]


def speaker_name(split: str, key: str, form: Callable[[str], str] = str) -> str:
    """A name that s3prl's hash assigns to a split; `form` makes names from eight hexadecimal digits."""
    texts = (f"{split}/{key}/{attempt}" for attempt in itertools.count())
    names = (form(hashlib.sha256(text.encode()).hexdigest()[:8]) for text in texts)
    return next(name for name in names if split_of(name) == split)


def split_of(speaker: str) -> str:
    """The split of a speaker in s3prl: 10 % for validation, 10 % for the test set, the others for training."""
    number = int(hashlib.sha1(speaker.encode()).hexdigest(), 16) % (_LARGEST_HASH + 1)
    percent = number * (100.0 / _LARGEST_HASH)
    return "valid" if percent < 10 else "test" if percent < 20 else "train"


def _clips(studio: Studio, speakers: Sequence[tuple[str, str]], takes: int, others: int) -> Iterator[Spoken]:
    for number, (voice, name) in enumerate(speakers):
        # Each of the other words occurs equally often, whatever the number of speakers.
        rest = [OTHERS[(number * others + i) % len(OTHERS)] for i in range(others)]
        for word, take in [*itertools.product(KEYWORDS, range(takes)), *((word, 0) for word in rest)]:
            path = f"{word}/{name}_nohash_{take}.wav"
            yield studio.line(path, voice, word, style=_STYLE, samples=SAMPLE_RATE)


def _test_path(path: str) -> str:
    """Path of a clip in the test set, where all other words are one class."""
    word, file = path.split("/")
    return path if word in KEYWORDS else f"{UNKNOWN}/{word}_{file}"

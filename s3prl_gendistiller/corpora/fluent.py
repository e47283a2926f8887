"""Intent classification (`fluent_commands`) in the layout of Fluent Speech Commands.

    OUT/fluent_speech_commands_dataset/data/{train,valid,test}_data.csv
    OUT/fluent_speech_commands_dataset/wavs/speakers/<speaker>/<nnnn>.wav

The three splits share no speaker; as in the real corpus, they share phrasings.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import NamedTuple

from s3prl_gendistiller.corpora.augment import INDOORS
from s3prl_gendistiller.corpora.espeak import Espeak
from s3prl_gendistiller.corpora.folder import CorpusPlan
from s3prl_gendistiller.corpora.voices import Studio, draw_voices

FOLDER = "fluent_speech_commands_dataset"
SPLITS = ("train", "valid", "test")
COLUMNS = ("", "path", "speakerId", "transcription", "action", "object", "location")
_ROOMS = ("none", "kitchen", "bedroom", "washroom")
_ABOUT = """\
Synthetic speech (espeak-ng) in the layout of Fluent Speech Commands; no recording of a person.

The 31 intents are the real corpus's (action, object, location), the phrasings are our own. The splits share no
speaker. The real corpus has 97 people and 30,043 commands.
"""


class Intent(NamedTuple):
    """Action, object and location of a command."""

    action: str
    object: str
    location: str


INTENTS = (
    *(Intent(action, "lights", room) for action in ("activate", "deactivate") for room in _ROOMS),
    *(Intent(action, thing, "none") for action in ("activate", "deactivate") for thing in ("lamp", "music")),
    *(Intent(action, "heat", room) for action in ("increase", "decrease") for room in _ROOMS),
    *(Intent(action, "volume", "none") for action in ("increase", "decrease")),
    *(Intent("bring", thing, "none") for thing in ("newspaper", "juice", "socks", "shoes")),
    *(Intent("change language", name, "none") for name in ("none", "Chinese", "English", "German", "Korean")),
)
_PHRASES = {
    "activate": ("turn on the {}", "switch on the {}", "put the {} on", "start the {}", "i want the {} on"),
    "deactivate": ("turn off the {}", "switch off the {}", "put the {} off", "stop the {}", "no more {}"),
    "increase": ("turn up the {}", "raise the {}", "more {}", "i need more {}", "set the {} higher"),
    "decrease": ("turn down the {}", "lower the {}", "less {}", "there is too much {}", "set the {} lower"),
    "bring": ("bring me the {}", "get me my {}", "fetch the {}", "i want the {}", "go and find my {}"),
    "change language": ("switch to {}", "use {} now", "speak {} with me", "set the language to {}", "talk in {}"),
}
_NO_LANGUAGE = ("change the language", "use another language", "switch the language", "open the language settings")


class Size(NamedTuple):
    """Numbers of speakers and commands in train, valid and test."""

    speakers: tuple[int, int, int]
    commands: tuple[int, int, int]


SIZES = {
    "tiny": Size(speakers=(3, 2, 2), commands=(31, 8, 8)),
    "small": Size(speakers=(40, 8, 12), commands=(560, 80, 124)),
    "medium": Size(speakers=(54, 12, 16), commands=(2200, 200, 310)),
    "bench": Size(speakers=(40, 10, 30), commands=(620, 155, 1116)),
}


class Command(NamedTuple):
    """One utterance."""

    split: str
    path: str
    speaker: str
    voice: str
    text: str
    intent: Intent


def plans(engine: Espeak, size: str, seed: int) -> list[CorpusPlan]:
    """The corpus in one of `SIZES`."""
    shape = SIZES[size]
    studio = Studio(seed, INDOORS)
    commands = _commands(studio, shape, draw_voices(engine.variants(), f"{FOLDER}/{seed}", sum(shape.speakers)))
    clips = [studio.line(command.path, command.voice, command.text) for command in commands]
    listed = {f"data/{split}_data.csv": table([c for c in commands if c.split == split]) for split in SPLITS}
    recipe = {"corpus": FOLDER, "seed": seed, "size": shape._asdict()}
    return [CorpusPlan(FOLDER, recipe, clips, lambda root: listed, _ABOUT)]


def table(commands: Sequence[Command]) -> str:
    """A CSV file of the corpus."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for number, command in enumerate(commands):
        writer.writerow((number, command.path, command.speaker, command.text, *command.intent))
    return text.getvalue()


def _commands(studio: Studio, shape: Size, voices: Sequence[str]) -> list[Command]:
    """Intents in equal shares; training, from which s3prl counts the classes, has each at least once."""
    rng = studio.chance(FOLDER)
    found: list[Command] = []
    first = 0
    for split, speakers, count in zip(SPLITS, shape.speakers, shape.commands, strict=True):
        order = [INTENTS[i % len(INTENTS)] for i in range(count)]
        rng.shuffle(order)
        for number, intent in enumerate(order):
            index = first + number % speakers
            speaker = f"speaker{index + 1:03d}"
            path = f"wavs/speakers/{speaker}/{split}_{number:04d}.wav"
            text = _phrase(intent, rng.randrange(20))
            found.append(Command(split, path, speaker, voices[index], text, intent))
        first += speakers
    return found


def _phrase(intent: Intent, choice: int) -> str:
    if intent == Intent("change language", "none", "none"):
        return _NO_LANGUAGE[choice % len(_NO_LANGUAGE)]
    phrases = _PHRASES[intent.action]
    text = phrases[choice % len(phrases)].format(intent.object)
    return text if intent.location == "none" else f"{text} in the {intent.location}"

"""Slot filling (`ctc`, snips) in the layout of Audio SNIPS as s3prl's script prepares it.

    OUT/SNIPS/{train,valid,test}/<speaker>-snips-<split>-<n>.wav
    OUT/SNIPS/all.iob.snips.txt       `<name> BOS <WORDS> EOS<tab>O <slots> <intent>`
    OUT/SNIPS/all-trans.txt, slots.txt

Speakers have the names that SUPERB's configuration lists for each split. No two splits share a speaker or a sentence.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from s3prl_gendistiller.corpora.augment import INDOORS
from s3prl_gendistiller.corpora.espeak import Espeak
from s3prl_gendistiller.corpora.folder import CorpusPlan
from s3prl_gendistiller.corpora.voices import Studio, draw_voices

FOLDER = "SNIPS"
SPEAKERS = {
    "train": ("Ivy", "Joanna", "Joey", "Justin", "Kendra", "Kimberly", "Matthew", "Salli"),
    "valid": ("Aditi", "Amy", "Geraint", "Nicole"),
    "test": ("Brian", "Emma", "Raveena", "Russell"),
}
_ABOUT = """\
Synthetic speech (espeak-ng) in the layout of Audio SNIPS after s3prl's preparation; no recording of a person.

The speakers' names are those that SUPERB's configuration lists; the voices are variants of espeak-ng, not the
voices that bear these names elsewhere. Intents and slots are a part of the real corpus's (7 intents, 15 of 39
slots), sentences and values are our own. No two splits share a speaker or a sentence; every sentence is spoken
once (in the real corpus, by all 16 speakers).
"""

_VALUES = {
    "artist": ("marla finch", "the velvet engines", "otto brandt", "silver harbor", "nina castillo", "blue thunder"),
    "album": ("midnight garden", "paper kings", "slow river", "northern lights", "the long way home"),
    "track": ("golden morning", "run to me", "seven bridges", "shadow dancer", "only rain"),
    "service": ("deezer", "spotify", "youtube", "pandora"),
    "playlist": ("summer road", "workout mix", "sunday jazz", "rainy days", "dinner with friends", "old school"),
    "city": ("boston", "dublin", "new haven", "santa rosa", "melbourne", "kingston", "salem", "cedar falls"),
    "timeRange": ("tomorrow", "next friday", "this evening", "in three hours", "at noon", "two weeks from now"),
    "party_size_number": ("two", "three", "four", "five", "seven", "nine"),
    "restaurant_type": ("diner", "steakhouse", "tavern", "pizza place", "bistro", "food truck"),
    "cuisine": ("thai", "italian", "greek", "mexican", "indian", "french"),
    "condition_description": ("rain", "snow", "a storm", "fog", "sunshine", "heavy wind"),
    "object_name": ("the last lantern", "a winter in rome", "stone and feather", "the quiet sailor", "nine doors"),
    "rating_value": ("zero", "one", "two", "three", "four", "five"),
    "movie_name": ("iron meadow", "the clockmaker", "city of glass", "a dog named blue", "broken compass"),
    "object_location_type": ("movie theater", "cinema", "film house"),
}
_TEMPLATES = {
    "PlayMusic": (
        *("play {track} by {artist}", "play the album {album} on {service}", "i want to hear {artist} on {service}"),
        *("put on {track} from {album}", "start {service} and play {artist}"),
    ),
    "AddToPlaylist": (
        *("add {track} to my {playlist} playlist", "put {artist} in the playlist {playlist}"),
        *("add this song by {artist} to {playlist}", "include {album} in my {playlist} list"),
    ),
    "BookRestaurant": (
        *("book a {restaurant_type} in {city} for {party_size_number} people {timeRange}",),
        *("reserve a table for {party_size_number} at a {cuisine} {restaurant_type} in {city}",),
        *("find a {restaurant_type} that serves {cuisine} food {timeRange}",),
    ),
    "GetWeather": (
        *("will there be {condition_description} in {city} {timeRange}", "what is the weather in {city} {timeRange}"),
        *("tell me if {condition_description} is coming to {city}", "is it going to be cold {timeRange} in {city}"),
    ),
    "RateBook": (
        *("give {object_name} {rating_value} stars", "rate {object_name} {rating_value} out of six"),
        *("i would give {rating_value} points to {object_name}",),
    ),
    "SearchCreativeWork": (
        *("show me {movie_name}", "find the book called {object_name}", "where can i get the album {album}"),
        *("look for the song {track} by {artist}",),
    ),
    "SearchScreeningEvent": (
        *("is {movie_name} playing at the {object_location_type} {timeRange}",),
        *("when is {movie_name} on at the nearest {object_location_type}",),
        *("which {object_location_type} in {city} shows {movie_name}",),
    ),
}
_OPENINGS = ("", "", "", "please", "hey", "okay", "now", "hello")
_CLOSINGS = ("", "", "", "please", "thanks", "if you can")
_ATTEMPTS = 1000
_SLOT = re.compile(r"\{(\w+)\}")


SIZES = {"tiny": (16, 4, 4), "small": (800, 80, 80), "medium": (1300, 120, 180), "bench": (800, 120, 600)}
"""Numbers of sentences in train, valid and test."""


class Request(NamedTuple):
    """A sentence with a slot name, or O, for each word."""

    words: tuple[str, ...]
    slots: tuple[str, ...]
    intent: str


def plans(engine: Espeak, size: str, seed: int) -> list[CorpusPlan]:
    """The corpus in one of `SIZES`."""
    studio = Studio(seed, INDOORS)
    names = [name for speakers in SPEAKERS.values() for name in speakers]
    voices = dict(zip(names, draw_voices(engine.variants(), f"{FOLDER}/{seed}", len(names)), strict=True))
    stream = requests(studio.chance(FOLDER))
    clips, said = [], {}
    for (split, speakers), count in zip(SPEAKERS.items(), SIZES[size], strict=True):
        for number in range(count):
            speaker = speakers[number % len(speakers)]
            name = f"{speaker}-snips-{split}-{number // len(speakers)}"
            said[name] = next(stream)
            clips.append(studio.line(f"{split}/{name}.wav", voices[speaker], " ".join(said[name].words)))
    listed = {
        "all.iob.snips.txt": "".join(_labelled(name, request) for name, request in said.items()),
        "all-trans.txt": "".join(f"{name} {' '.join(request.words).upper()}\n" for name, request in said.items()),
        "slots.txt": slots_text(list(said.values())),
    }
    recipe = {"corpus": FOLDER, "seed": seed, "size": {"sentences": SIZES[size]}}
    return [CorpusPlan(FOLDER, recipe, clips, lambda root: listed, _ABOUT)]


def requests(rng: random.Random) -> Iterator[Request]:
    """Endless stream of different requests, one of each intent in turn."""
    said: set[tuple[str, ...]] = set()
    while True:
        for intent, templates in _TEMPLATES.items():
            drawn = (_filled(rng.choice(templates), intent, rng) for _ in range(_ATTEMPTS))
            request = next(request for request in drawn if request.words not in said)
            said.add(request.words)
            yield request


def slots_text(requests: Sequence[Request]) -> str:
    """All slots, one in each line. O is first, since s3prl skips the first line; an empty last line would be a slot."""
    counts = Counter(slot for request in requests for slot in request.slots if slot != "O")
    return "\n".join(["O", *sorted(_VALUES, key=lambda slot: (-counts[slot], slot))])


def _filled(template: str, intent: str, rng: random.Random) -> Request:
    words: list[str] = []
    slots: list[str] = []
    for token in f"{rng.choice(_OPENINGS)} {template} {rng.choice(_CLOSINGS)}".split():
        found = _SLOT.fullmatch(token)
        filling = rng.choice(_VALUES[found.group(1)]).split() if found else [token]
        words += filling
        slots += [found.group(1) if found else "O"] * len(filling)
    return Request(tuple(words), tuple(slots), intent)


def _labelled(name: str, request: Request) -> str:
    return f"{name} BOS {' '.join(request.words).upper()} EOS\tO {' '.join(request.slots)} {request.intent}\n"

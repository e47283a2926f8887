"""Sentences from a small grammar of our own, in LibriSpeech's spelling: A to Z, apostrophe and space."""

from __future__ import annotations

import random
from collections.abc import Iterator

_DETERMINERS = ("the", "a", "my", "your", "every", "another", "this", "our")
_ADJECTIVES = (
    *("old", "young", "quiet", "narrow", "golden", "heavy", "curious", "broken", "distant", "gentle"),
    *("bright", "hungry", "wooden", "foolish", "silver", "careful", "frozen", "plain", "weary", "proud"),
)
_PEOPLE = (
    *("captain", "teacher", "farmer", "doctor", "sister", "stranger", "soldier", "painter", "widow", "king"),
    *("baker", "judge", "sailor", "gardener", "child", "brother", "merchant", "queen", "shepherd", "nurse"),
)
_THINGS = (
    *("letter", "lantern", "river", "garden", "window", "mountain", "basket", "mirror", "candle", "horse"),
    *("bridge", "coat", "apple", "orchard", "journey", "question", "village", "island", "feather", "supper"),
)
_DEEDS = (
    *("carried", "found", "painted", "forgot", "followed", "bought", "watched", "described", "lost", "kept"),
    *("remembered", "sold", "repaired", "noticed", "praised", "borrowed", "showed", "feared", "liked", "hid"),
)
_PLACES = (
    *("across the valley", "before the storm", "in the evening", "near the harbor", "without a word"),
    *("under the bridge", "after breakfast", "beside the church", "through the forest", "for seven years"),
    *("at midnight", "behind the house", "by the fire", "on the road", "with great pleasure"),
)
_OPENINGS = ("yesterday", "at last", "however", "in truth", "once again", "perhaps", "that morning", "indeed")
_DOUBTS = ("didn't think", "couldn't believe", "wasn't sure", "never said", "won't forget", "always knew")


def sentences(seed: int) -> Iterator[str]:
    """An endless stream of sentences of which no two are equal, always the same for a seed."""
    rng = random.Random(f"sentences/{seed}")
    said: set[str] = set()
    forms = (_statement, _opened, _owned, _doubted)
    while True:
        sentence = rng.choice(forms)(rng).upper()
        if sentence not in said:
            said.add(sentence)
            yield sentence


def _statement(rng: random.Random) -> str:
    return f"{_someone(rng)} {rng.choice(_DEEDS)} {_something(rng)} {rng.choice(_PLACES)}"


def _opened(rng: random.Random) -> str:
    return f"{rng.choice(_OPENINGS)} {_someone(rng)} {rng.choice(_DEEDS)} {_something(rng)}"


def _owned(rng: random.Random) -> str:
    owner = f"the {rng.choice(_PEOPLE)}'s {rng.choice(_ADJECTIVES)} {rng.choice(_THINGS)}"
    return f"{_someone(rng)} {rng.choice(_DEEDS)} {owner}"


def _doubted(rng: random.Random) -> str:
    deed = f"{_someone(rng)} {rng.choice(_DEEDS)} {_something(rng)}"
    return f"{_someone(rng)} {rng.choice(_DOUBTS)} that {deed}"


def _someone(rng: random.Random) -> str:
    return _phrase(rng, _PEOPLE)


def _something(rng: random.Random) -> str:
    return _phrase(rng, _THINGS)


def _phrase(rng: random.Random, nouns: tuple[str, ...]) -> str:
    words = [rng.choice(nouns)]
    if rng.random() < 0.4:
        words.insert(0, rng.choice(_ADJECTIVES))
    determiner = rng.choice(_DETERMINERS)
    if determiner == "a" and words[0][0] in "aeiou":
        determiner = "an"
    return " ".join([determiner, *words])

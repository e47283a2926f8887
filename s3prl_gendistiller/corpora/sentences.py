"""Sentences from a small grammar, in LibriSpeech's spelling: A to Z, apostrophe and space.

In the everyday words of the grammar, every phone of English occurs.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import NamedTuple

_DETERMINERS = ("the", "a", "my", "your", "every", "another", "this", "our")
_JOINTS = ("that", "an")


class Vocabulary(NamedTuple):
    """Words and phrases for each position in a sentence."""

    adjectives: tuple[str, ...]
    people: tuple[str, ...]
    things: tuple[str, ...]
    deeds: tuple[str, ...]
    places: tuple[str, ...]
    openings: tuple[str, ...]
    doubts: tuple[str, ...]


PLAIN = Vocabulary(
    adjectives=(
        *("old", "young", "quiet", "narrow", "golden", "heavy", "curious", "broken", "distant", "gentle"),
        *("bright", "hungry", "wooden", "foolish", "silver", "careful", "frozen", "plain", "weary", "proud"),
    ),
    people=(
        *("captain", "teacher", "farmer", "doctor", "sister", "stranger", "soldier", "painter", "widow", "king"),
        *("baker", "judge", "sailor", "gardener", "child", "brother", "merchant", "queen", "shepherd", "nurse"),
    ),
    things=(
        *("letter", "lantern", "river", "garden", "window", "mountain", "basket", "mirror", "candle", "horse"),
        *("bridge", "coat", "apple", "orchard", "journey", "question", "village", "island", "feather", "supper"),
    ),
    deeds=(
        *("carried", "found", "painted", "forgot", "followed", "bought", "watched", "described", "lost", "kept"),
        *("remembered", "sold", "repaired", "noticed", "praised", "borrowed", "showed", "feared", "liked", "hid"),
    ),
    places=(
        *("across the valley", "before the storm", "in the evening", "near the harbor", "without a word"),
        *("under the bridge", "after breakfast", "beside the church", "through the forest", "for seven years"),
        *("at midnight", "behind the house", "by the fire", "on the road", "with great pleasure"),
    ),
    openings=("yesterday", "at last", "however", "in truth", "once again", "perhaps", "that morning", "indeed"),
    doubts=("didn't think", "couldn't believe", "wasn't sure", "never said", "won't forget", "always knew"),
)

_MORE = Vocabulary(
    adjectives=(
        *("ancient", "bitter", "clever", "crooked", "dusty", "empty", "faithful", "famous", "gray", "huge"),
        *("lonely", "lucky", "modern", "noisy", "patient", "polite", "purple", "rough", "royal", "secret"),
        *("shallow", "simple", "smooth", "southern", "strange", "tiny", "usual", "velvet", "yellow", "cheap"),
    ),
    people=(
        *("author", "barber", "cook", "cousin", "dancer", "daughter", "driver", "father", "fisherman", "friend"),
        *("guide", "hunter", "lawyer", "magician", "mayor", "miller", "mother", "musician", "neighbor", "orphan"),
        *("pilot", "poet", "priest", "pupil", "servant", "tailor", "thief", "uncle", "weaver", "youth"),
    ),
    things=(
        *("anchor", "barrel", "bell", "blanket", "book", "bottle", "button", "camera", "carpet", "castle"),
        *("chair", "clock", "coin", "diamond", "drawer", "engine", "fountain", "guitar", "hammer", "hat"),
        *("jewel", "kettle", "kitchen", "ladder", "machine", "measure", "needle", "newspaper", "onion", "piano"),
        *("picture", "pocket", "ribbon", "shadow", "shovel", "spoon", "statue", "table", "thimble", "tower"),
        *("toy", "treasure", "trumpet", "umbrella", "vase", "violin", "wagon", "whistle", "yacht", "zebra"),
    ),
    deeds=(
        *("admired", "broke", "chose", "cleaned", "counted", "covered", "dropped", "enjoyed", "examined", "gave up"),
        *("heard", "held", "ignored", "imagined", "invented", "left", "loved", "measured", "moved", "needed"),
        *("opened", "pulled", "pushed", "returned", "sketched", "stole", "touched", "used", "visited", "washed"),
    ),
    places=(
        *("along the coast", "among the roses", "around noon", "at the market", "below the cliffs", "during the war"),
        *("for a good reason", "from the ship", "in the month of May", "in the south", "inside the cave"),
        *("near the old mill", "on a Thursday", "outside the theater", "over the hills", "since childhood"),
        *("toward the ocean", "until the winter", "with both hands", "within an hour"),
    ),
    openings=("of course", "last year", "sooner or later", "all at once", "in the beginning", "for once", "by chance"),
    doubts=("often wished", "rarely noticed", "should have known", "would not agree", "could hardly hear"),
)
RICH = Vocabulary(*(plain + more for plain, more in zip(PLAIN, _MORE, strict=True)))
"""About 390 words."""


def sentences(seed: int | str, vocabulary: Vocabulary = PLAIN) -> Iterator[str]:
    """Endless stream of different sentences, always the same for a seed and a vocabulary."""
    grammar = _Grammar(random.Random(f"sentences/{seed}"), vocabulary)
    said: set[str] = set()
    forms = (grammar.statement, grammar.opened, grammar.owned, grammar.doubted)
    while True:
        sentence = grammar.rng.choice(forms)().upper()
        if sentence not in said:
            said.add(sentence)
            yield sentence


def words(vocabulary: Vocabulary) -> set[str]:
    """Every word that the sentences may use, in capitals."""
    phrases = [phrase for group in vocabulary for phrase in group]
    owners = [f"{person}'s" for person in vocabulary.people]
    return {word.upper() for phrase in (*phrases, *owners, *_DETERMINERS, *_JOINTS) for word in phrase.split()}


class _Grammar:
    def __init__(self, rng: random.Random, vocabulary: Vocabulary) -> None:
        self.rng = rng
        self.words = vocabulary

    def statement(self) -> str:
        return f"{self._someone()} {self._one(self.words.deeds)} {self._something()} {self._one(self.words.places)}"

    def opened(self) -> str:
        opening = self._one(self.words.openings)
        return f"{opening} {self._someone()} {self._one(self.words.deeds)} {self._something()}"

    def owned(self) -> str:
        owner = f"the {self._one(self.words.people)}'s"
        owned = f"{owner} {self._one(self.words.adjectives)} {self._one(self.words.things)}"
        return f"{self._someone()} {self._one(self.words.deeds)} {owned}"

    def doubted(self) -> str:
        deed = f"{self._someone()} {self._one(self.words.deeds)} {self._something()}"
        return f"{self._someone()} {self._one(self.words.doubts)} that {deed}"

    def _someone(self) -> str:
        return self._phrase(self.words.people)

    def _something(self) -> str:
        return self._phrase(self.words.things)

    def _phrase(self, nouns: tuple[str, ...]) -> str:
        words = [self._one(nouns)]
        if self.rng.random() < 0.4:
            words.insert(0, self._one(self.words.adjectives))
        determiner = self._one(_DETERMINERS)
        if determiner == "a" and words[0][0] in "aeiou":
            determiner = "an"
        return " ".join([determiner, *words])

    def _one(self, choices: tuple[str, ...]) -> str:
        return self.rng.choice(choices)

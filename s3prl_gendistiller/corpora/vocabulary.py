"""Everyday words for the grammar of `sentences`, in which every phone of English occurs."""

from __future__ import annotations

from typing import NamedTuple


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

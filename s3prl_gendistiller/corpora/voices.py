"""Speakers, each a variant of the synthesiser, and styles of speaking."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

from s3prl_gendistiller.corpora.augment import QUIET, Place, Scene, draw_place, generator
from s3prl_gendistiller.corpora.clips import Spoken
from s3prl_gendistiller.corpora.espeak import ACCENTS
from s3prl_gendistiller.errors import UserError

AMERICAN = ("en-us",)


@dataclass(frozen=True)
class Style:
    """Ranges, (lowest, highest), of which every utterance draws a value."""

    rate_wpm: tuple[int, int] = (145, 190)
    pitch: tuple[int, int] = (40, 60)
    pitch_range: tuple[int, int] | None = None
    gain: tuple[float, float] = (0.4, 1.0)
    effort_db: tuple[float, float] = (0.0, 0.0)


PLAIN = Style()


@dataclass(frozen=True)
class Studio:
    """Maker of clips of one corpus from texts, with small differences between utterances."""

    seed: int
    scene: Scene = QUIET  # scene of recordings without a given place

    def line(
        self,
        path: str,
        voice: str,
        text: str,
        *,
        style: Style = PLAIN,
        place: Place | None = None,
        key: str | None = None,
        samples: int | None = None,
    ) -> Spoken:
        """One utterance.

        Args:
            place: place of the recording; None draws one for this utterance.
            key: seed of the random choices, together with the seed of the corpus; None for the path.
            samples: exact length; None for the length of the speech.
        """
        key = f"{self.seed}/{key or path}"
        rng = random.Random(key)
        rate_wpm, pitch, gain = rng.randint(*style.rate_wpm), rng.randint(*style.pitch), rng.uniform(*style.gain)
        spoken = Spoken(path, voice, text, rate_wpm, pitch, gain=gain, samples=samples, key=key)
        return replace(
            spoken,
            pitch_range=None if style.pitch_range is None else rng.randint(*style.pitch_range),
            effort_db=rng.uniform(*style.effort_db),
            speed=rng.uniform(*self.scene.speed),
            place=place or draw_place(self.scene, key),
        )

    def place(self, key: str) -> Place | None:
        """A place for several recordings."""
        return draw_place(self.scene, f"{self.seed}/{key}")

    def chance(self, key: str) -> random.Random:
        """A random number generator for plans, independent of those of the utterances."""
        return random.Random(f"{key}/{self.seed}")


def draw_voices(
    variants: Sequence[str], key: str, count: int, accents: Sequence[str] = ACCENTS, *, what: str = "speakers"
) -> list[str]:
    """`count` voices, no two of one variant, always the same for a key; a UserError if there are too few variants."""
    if count > len(variants):
        raise UserError(f"{what}: {count} asked for; espeak-ng has {len(variants)}; ask for fewer")
    rng = random.Random(key)
    return [f"{rng.choice(accents)}+{variant}" for variant in rng.sample(variants, count)]


def in_session(place: Place, key: str, spread_db: float = 3.0) -> Place:
    """The same room, microphone and kind of noise at another time, with slightly louder or softer noise."""
    if place.snr_db is None:
        return place
    change = float(generator(f"moment/{key}").uniform(-spread_db, spread_db))
    return replace(place, snr_db=place.snr_db + change)

"""Audio files made of recordings: one recording under another name, or several recordings in a row."""

from __future__ import annotations

import dataclasses
import random
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from s3prl_gendistiller.corpora.augment import generator
from s3prl_gendistiller.corpora.clips import Recording
from s3prl_gendistiller.corpora.espeak import Espeak
from s3prl_gendistiller.distill.audio import SAMPLE_RATE, read_audio

PAUSE_S = (0.1, 0.3)
_FLOOR = 1e-3
"""Level of the noise in pauses. Digital silence gives log-mel features of about -16, which no recording has."""


@dataclasses.dataclass(frozen=True)
class Copied:
    """A recording under another name."""

    path: str
    source: str

    def record(self, engine: Espeak | None) -> Recording:
        return Recording(np.asarray(read_audio(self.source)))


@dataclasses.dataclass(frozen=True)
class Joined:
    """Recordings in a row, unaltered, with a pause of faint noise between them, and at both ends if `ends`."""

    path: str
    sources: tuple[str, ...]
    ends: bool = True

    def record(self, engine: Espeak | None) -> Recording:
        rng = generator(f"pauses/{self.path}")
        parts = [_pause(rng)]
        for source in self.sources:
            parts += [np.asarray(read_audio(source)), _pause(rng)]
        return Recording(np.concatenate(parts if self.ends else parts[1:-1]))


def series(rows: Sequence[Mapping[str, str]], count: int, seed: str) -> Iterator[list[Mapping[str, str]]]:
    """Groups of `count` recordings with different words, in random order; no recording is in two groups.

    The words with the most recordings left come first, so that nearly all recordings are taken.
    """
    rng = random.Random(seed)
    left: defaultdict[str, list[Mapping[str, str]]] = defaultdict(list)
    for row in rng.sample(rows, len(rows)):
        left[row["word"]].append(row)
    while sum(map(bool, left.values())) >= count:
        words = sorted(left, key=lambda word: (-len(left[word]), rng.random()))[:count]
        rng.shuffle(words)
        yield [left[word].pop() for word in words]


def _pause(rng: np.random.Generator) -> np.ndarray:
    """Noise (S,) of a random length within `PAUSE_S`."""
    return _FLOOR * rng.standard_normal(round(rng.uniform(*PAUSE_S) * SAMPLE_RATE)).astype(np.float32)

"""Sizes of corpora: the published sizes, and the amount of speech that a task reads.

The files in `superb/tasks/` hold the numbers, each number once. `Corpus` describes a whole corpus. `Speech` gives the
seconds of audio that the runs of one task read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from s3prl_gendistiller.superb.corpus.source import Source

HOUR_S = 3600.0


@dataclass(frozen=True)
class Amount:
    """Number of files and hours of one part of a corpus; `rounding_h` is half a unit of the last published digit."""

    files: int
    hours: float | None = None
    rounding_h: float = 0.05

    @property
    def seconds(self) -> float:
        """The length; 0 where none is published."""
        return (self.hours or 0.0) * HOUR_S


@dataclass(frozen=True)
class Corpus:
    """A corpus as it is published: its name, its source, and the parts whose sizes are known."""

    name: str
    source: Source
    parts: Mapping[str, Amount]


@dataclass(frozen=True)
class Speech:
    """Speech that the runs of one task read, in seconds.

    Attributes:
        utterance_s: mean length of an utterance of the training set.
        dev_s, test_s: speech of one evaluation on dev, and on test.
        whole_s: speech of training, dev and test set, each utterance once.
        pairs: number of pairs of query and document that dynamic time warping compares in an evaluation.
    """

    utterance_s: float
    dev_s: float
    test_s: float
    whole_s: float
    pairs: int = 0

    @classmethod
    def of(cls, train: Amount, dev: Amount, test: Amount) -> Speech:
        """Speech of a task that reads three whole parts of a corpus."""
        whole_s = train.seconds + dev.seconds + test.seconds
        return cls(train.seconds / train.files, dev.seconds, test.seconds, whole_s)

"""Sizes of corpora: what is published, and how much speech a task reads.

The numbers stand in the files of the tasks (`superb/tasks/`), each one once: `Corpus` says what a whole corpus holds,
`Speech` how long the runs of a task compute on it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

HOUR_S = 3600.0


@dataclass(frozen=True)
class Amount:
    """Audio of one part of a corpus.

    Attributes:
        files: their number.
        hours: their length; None where no length is published.
        rounding_h: half a unit of the last published digit.
    """

    files: int
    hours: float | None = None
    rounding_h: float = 0.05

    @property
    def seconds(self) -> float:
        """The published length; 0 where none is published."""
        return (self.hours or 0.0) * HOUR_S


@dataclass(frozen=True)
class Corpus:
    """A corpus as it is published.

    Attributes:
        name: the corpus's own.
        where: its home and its licence, in words.
        parts: by name, the parts of which a size is published.
    """

    name: str
    where: str
    parts: Mapping[str, Amount]


@dataclass(frozen=True)
class Speech:
    """Speech that the runs of one task read, in seconds.

    Attributes:
        utterance_s: mean length of an utterance of the training set.
        dev_s, test_s: one evaluation.
        whole_s: training, dev and test set, each utterance once.
        pairs: of query and document, which dynamic time warping compares in an evaluation.
    """

    utterance_s: float
    dev_s: float
    test_s: float
    whole_s: float
    pairs: int = 0

    @classmethod
    def of(cls, train: Amount, dev: Amount, test: Amount) -> Speech:
        """A task that reads three whole parts of a corpus."""
        whole_s = train.seconds + dev.seconds + test.seconds
        return cls(train.seconds / train.files, dev.seconds, test.seconds, whole_s)

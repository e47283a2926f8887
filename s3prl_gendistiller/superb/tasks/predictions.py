"""Predictions that s3prl's experts write when they test: their forms, read strictly, and the ids that are expected."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

SHOWN = 3
NO_FILE = "no such file; evaluate this run on its test set"


@dataclass(frozen=True)
class Expected:
    """The ids and lengths that the predictions of a task must have.

    Attributes:
        source: the file or folder that lists the ids.
        ids: utterances, or pairs with _ or a space between; without `ranks` in the order of the predictions.
        ranks: the rank of each id: lower ranks come first, ids of one rank in any order.
        in_blocks: whether ids of one rank stand together, the blocks themselves in any order.
        samples: recording -> number of samples, where predictions come frame by frame.
    """

    source: Path
    ids: Sequence[str]
    ranks: Sequence[int] | None = None
    in_blocks: bool = False
    samples: Mapping[str, int] = field(default_factory=dict)


@dataclass
class Predictions:
    """Predictions of one test.

    Attributes:
        ids: the ids in the order of the file; "QUERY DOCUMENT" for query by example.
        problems: messages, each of which names its line or utterance.
        frames: recording -> number of frames of `frame_samples` samples, where predictions come frame by frame.
    """

    ids: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    frames: dict[str, int] = field(default_factory=dict)
    frame_samples: int = 0

    def shortened(self) -> Predictions:
        surplus = len(self.problems) - SHOWN
        if surplus > 1:
            self.problems[SHOWN:] = [f"and {surplus} more of this kind"]
        return self


@dataclass(frozen=True)
class Lines:
    """Reads predictions of one line each.

    Attributes:
        pattern: pattern of a line; its first group is the id, its second the prediction. `form` is its description.
        numbers: whether a prediction is a number, and an id may stand in several lines.
    """

    pattern: str
    form: str
    numbers: bool = False

    def __call__(self, path: Path) -> Predictions:
        if not path.is_file():
            return Predictions(problems=[NO_FILE])
        found = Predictions()
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            return Predictions(problems=[f"not text in UTF-8 ({error.reason} at byte {error.start})"])
        if not text:
            return Predictions(problems=["is empty"])
        lines = text.split("\n")
        if lines.pop():
            found.problems.append(f"line {len(lines) + 1}: cut off; the file ends without the end of its last line")
        for number, line in enumerate(lines, start=1):
            match = re.fullmatch(self.pattern, line)
            if match is None:
                found.problems.append(f"line {number}: found {line[:60]!r}, expected {self.form}")
                continue
            found.ids.append(match[1])
            if self.numbers and not _is_finite(match[2]):
                found.problems.append(f"line {number}: {match[1]} has {match[2]}, expected a finite number")
        if not self.numbers:
            repeated = [(name, count) for name, count in Counter(found.ids).items() if count > 1]
            found.problems += [f"{name} stands there {count} times" for name, count in repeated]
        return found.shortened()


TEXT = Lines(r"(\S+) (.*)", "UTTERANCE HYPOTHESIS")  # the hypothesis may be empty
LABEL = Lines(r"(\S+) (\S+)", "UTTERANCE CLASS")


@dataclass(frozen=True)
class Submission:
    """One folder below predict/ of the leaderboard's archive.

    Attributes:
        flag: the flag of s3prl's packer, without dashes.
        source: the file, or folder of files, that the task's expert writes into its experiment folder; `read` reads it.
        target: the name of the source in the archive.
        truth: a file of the same form with the true answers in the same order, beside the source; empty for none.
        beside: more files of the experiment folder that go into the archive.
        alias: our name of the flag; empty for none.
        name: the name of the folder in the archive, without its ending; empty for `flag`.
        fold: the number that `Task.test_set` is given; empty for a task without folds.
        optional: whether the leaderboard shows the task without this folder.
    """

    flag: str
    source: str
    target: str
    read: Callable[[Path], Predictions]
    truth: str = ""
    beside: tuple[str, ...] = ()
    alias: str = ""
    name: str = ""
    fold: str = ""
    optional: bool = False

    @property
    def folder(self) -> str:
        return f"{self.name or self.flag}_public"


def hypotheses(flag: str, stem: str, *, alias: str = "", name: str = "", optional: bool = False) -> Submission:
    """The hypotheses that s3prl's recognisers write beside the references."""
    source, truth = f"{stem}-hyp.ark", f"{stem}-ref.ark"
    return Submission(flag, source, "predict.ark", TEXT, truth, alias=alias, name=name, optional=optional)


def classes(flag: str, stem: str, *, fold: str = "") -> Submission:
    """The classes that s3prl's classifiers write beside the true ones."""
    return Submission(flag, f"{stem}_predict.txt", "predict.txt", LABEL, f"{stem}_truth.txt", fold=fold)


def present(path: Path) -> Path:
    """The path of a file or folder of a corpus; FileNotFoundError if nothing is there."""
    if not path.exists():
        raise FileNotFoundError(2, "no such file", str(path))
    return path


def _is_finite(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False

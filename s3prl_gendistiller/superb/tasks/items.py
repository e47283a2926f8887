"""Items of a test: one line for each of them, with what the task's metrics are made of.

An item is an utterance, a trial, a recording, or a pair of query and document. The columns hold numbers alone, so that
a metric can be computed again for any choice of items (`statistics`).
"""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from s3prl_gendistiller.distill.files import csv_reader, read_text
from s3prl_gendistiller.errors import UserError

_ITEM, _UNIT = "item", "unit"


@dataclass(frozen=True)
class Items:
    """The items of one test, N of them.

    Attributes:
        names: ids; an id that stands in several lines has #2, #3 after its second and third.
        columns: name -> (N,) numbers.
        units: (N,) numbers from 0; items of one number are drawn together, as the documents of one query.
        strata: (N,) numbers from 0; the metric is the mean over strata, as over the folds of ER.
    """

    names: Sequence[str]
    columns: Mapping[str, np.ndarray]
    units: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=int))
    strata: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=int))

    def __post_init__(self) -> None:
        if not len(self.names):
            raise UserError("found no item of the test")
        if not self.units.size:
            object.__setattr__(self, "units", np.arange(len(self.names)))
        if not self.strata.size:
            object.__setattr__(self, "strata", np.zeros(len(self.names), dtype=int))

    @property
    def unit_count(self) -> int:
        return int(self.units.max()) + 1

    def ordered(self, names: Sequence[str]) -> Items:
        """The same items in the order of `names`."""
        place = {name: index for index, name in enumerate(self.names)}
        order = np.array([place[name] for name in names])
        columns = {name: values[order] for name, values in self.columns.items()}
        return Items(names, columns, _numbered(self.units[order]), self.strata[order])


def numbered(names: Sequence[str]) -> list[str]:
    """The ids, each of them once: the second line of an id gets #2."""
    count: dict[str, int] = defaultdict(int)
    found = []
    for name in names:
        count[name] += 1
        found.append(name if count[name] == 1 else f"{name}#{count[name]}")
    return found


def joined(parts: Sequence[Items], *, strata: bool = False) -> Items:
    """Items one after the other.

    Args:
        strata: whether each part is a stratum of its own, as a fold is; its ids then begin with the part's number.
    """
    columns = {name: np.concatenate([part.columns[name] for part in parts]) for name in parts[0].columns}
    offsets = np.cumsum([0, *(part.unit_count for part in parts)])
    units = np.concatenate([part.units + offset for part, offset in zip(parts, offsets, strict=False)])
    if strata:
        names = [f"{number}/{name}" for number, part in enumerate(parts, start=1) for name in part.names]
        return Items(names, columns, units, np.repeat(np.arange(len(parts)), [len(part.names) for part in parts]))
    names = [name for part in parts for name in part.names]
    return Items(names, columns, units, np.concatenate([part.strata for part in parts]))


def as_csv(items: Items) -> str:
    """A line for each item: its id, its unit where units have several items, and its columns."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    shared = items.unit_count < len(items.names)
    writer.writerow([_ITEM, *([_UNIT] if shared else []), *items.columns])
    units = [items.units.tolist()] if shared else []
    values = [values.tolist() for values in items.columns.values()]
    writer.writerows(
        [name, *(f"{value:.9g}" for value in row)] for name, *row in zip(items.names, *units, *values, strict=True)
    )
    return text.getvalue()


def read_items(path: Path) -> Items:
    """The items of a file of `as_csv`; UserError for another content."""
    try:
        reader = csv_reader(path, io.StringIO(read_text(path)))
        rows = list(reader)
        names = [row[_ITEM] for row in rows]
        given = {
            column: np.array([float(row[column]) for row in rows])
            for column in reader.fieldnames or ()
            if column != _ITEM
        }
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path}: found {error}, expected a line of numbers for each item of a test") from error
    wrong = [name for name, values in given.items() if not np.isfinite(values).all()]
    if wrong or not names or len(set(names)) < len(names):
        found = f"no finite number in {wrong[0]}" if wrong else "no item, or one item twice"
        raise UserError(f"{path}: found {found}, expected a line of numbers for each item of a test")
    units = _numbered(given.pop(_UNIT)) if _UNIT in given else np.arange(len(names))
    return Items(names, given, units)


def paired_lines(predictions: Path, truth: Path, separator: str = " ") -> list[tuple[str, str, str]]:
    """Id, prediction and truth of each line of two files that s3prl's experts write in the same order.

    Raises:
        UserError: a file is not there, or the ids of the two differ.
    """
    found = []
    for path in (predictions, truth):
        if not path.is_file():
            raise UserError(f"{path}: no such file; expected what s3prl's expert writes when it tests")
    lines, answers = (read_text(path).removesuffix("\n").split("\n") for path in (predictions, truth))
    for line, answer in zip(lines, answers, strict=False):
        name, _, prediction = line.partition(separator)
        other, _, true = answer.partition(separator)
        if name != other:
            raise UserError(f"{truth}: found {other}, expected {name} as in {predictions.name}")
        found.append((name, prediction, true))
    if len(lines) != len(answers):
        raise UserError(f"{truth}: found {len(answers):,} lines, expected {len(lines):,} as in {predictions.name}")
    return found


def right_or_wrong(lines: Sequence[tuple[str, str, str]]) -> Items:
    """The items of a classifier: ``right`` is 1 or 0."""
    right = np.array([float(prediction == truth) for _, prediction, truth in lines])
    return Items(numbered([name for name, _, _ in lines]), {"right": right})


def errors_and_length(lines: Sequence[tuple[str, Sequence[str], Sequence[str]]]) -> Items:
    """The items of a recogniser: ``errors`` (edit distance) and ``length`` of the reference, in words or phonemes."""
    import editdistance

    errors = np.array([float(editdistance.eval(found, true)) for _, found, true in lines])
    length = np.array([float(len(true)) for _, _, true in lines])
    return Items(numbered([name for name, _, _ in lines]), {"errors": errors, "length": length})


def _numbered(values: np.ndarray) -> np.ndarray:
    return np.unique(values, return_inverse=True)[1]

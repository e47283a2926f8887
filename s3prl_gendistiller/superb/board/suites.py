"""The suites of a board: results.json files, each with a label that tells it from the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.superb.cost.multiply_adds import Cost
from s3prl_gendistiller.superb.entry.from_suite import read_results
from s3prl_gendistiller.superb.suite.results import OFFICIAL, RESULTS, Results, origin, stored
from s3prl_gendistiller.superb.suite.suite import Suite
from s3prl_gendistiller.superb.tasks import TASKS

UNKNOWN = "unknown"
"""Preset and features of a results.json of an early version, which names none."""


@dataclass(frozen=True)
class FinishedSuite:
    """One results.json.

    Attributes:
        label: the end of the path of its folder, as long as it takes to tell suites apart.
        origin: what its numbers are of, as `results.origin` says it.
        suite: models and tasks with a result; `preset` and `features` are `UNKNOWN` where the file names none.
    """

    label: str
    path: Path
    origin: str
    suite: Suite
    results: Results
    costs: Mapping[str, Cost]
    scores: Mapping[str, float | None]

    @property
    def comparable(self) -> bool:
        """Whether its numbers may stand beside published ones."""
        return self.origin == OFFICIAL


def read_suites(sources: Sequence[Path]) -> list[FinishedSuite]:
    """The suites of folders or results.json files, in the order given.

    Raises:
        UserError: a file is missing, is no results.json, holds no result, or comes twice.
    """
    found: dict[Path, FinishedSuite] = {}
    for source in sources:
        one = read_results(source, _suite)
        place = one.path.resolve()
        if place in found:
            raise UserError(f"{source}: named twice ({place}); name each suite once")
        found[place] = one
    labels = _labels(list(found))
    return [replace(one, label=labels[place]) for place, one in found.items()]


def _suite(path: Path, content: Mapping[str, Any]) -> FinishedSuite:
    models, results, costs = stored(content)
    done = {task for tasks in results.values() for task in tasks}
    if not done:
        raise UserError(
            f"{path}: found no result of any student, expected at least one; wait for the first run of `gendistiller "
            "superb` to end, or leave this suite out"
        )
    suite = Suite(
        models=[model for model in models if results[model.name]],
        tasks=[task for name, task in TASKS.items() if name in done],
        preset=content.get("preset", UNKNOWN),
        out=path.parent,
        features=content.get("features", UNKNOWN),
        synthetic=content.get("synthetic") is True,
    )
    scores = {name: entry.get("score") for name, entry in content["students"].items()}
    return FinishedSuite("", path, origin(content), suite, results, costs, scores)


def _labels(places: Sequence[Path]) -> dict[Path, str]:
    """For each file the last parts of its folder's path, and the file's name unless it is results.json."""
    whole = {place: (place.parent if place.name == RESULTS else place).parts[1:] or (place.name,) for place in places}

    def end(place: Path, count: int) -> str:
        return "/".join(whole[place][-count:])

    found = {}
    for place in places:
        others = [other for other in places if other != place]
        longest = max(len(whole[other]) for other in places)
        count = next(n for n in range(1, longest + 1) if all(end(place, n) != end(other, n) for other in others))
        found[place] = end(place, count)
    return found

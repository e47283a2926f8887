"""Two students of a finished suite: the runs behind each name, and their differences on each task."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from s3prl_gendistiller.errors import UserError, few
from s3prl_gendistiller.superb.comparison.resampling import Difference, compare, holm
from s3prl_gendistiller.superb.entry.from_suite import moved_folder, read_results
from s3prl_gendistiller.superb.models import BenchmarkedModel, one_per_distillation
from s3prl_gendistiller.superb.suite.kept_items import items_of
from s3prl_gendistiller.superb.suite.replicas import Replicas, replicas
from s3prl_gendistiller.superb.suite.results import stored_model
from s3prl_gendistiller.superb.tasks import Metric, Task
from s3prl_gendistiller.superb.tasks.items import Items, joined

SIGNIFICANT = 0.05
WORDS = BETTER, WORSE, LEVEL = "better", "worse", "level"


@dataclass(frozen=True)
class Student:
    """One side of a comparison.

    Attributes:
        name: a student's name, whose distillations and heads all count, or the name of one model.
        folders: model -> task -> experiment folders of the run that was tested.
        metrics: model -> task -> keys of the metrics in results.json.
    """

    name: str
    runs: Replicas
    folders: Mapping[str, Mapping[str, Sequence[Path]]]
    metrics: Mapping[str, Mapping[str, Sequence[str]]]

    def models(self, task: Task) -> list[BenchmarkedModel]:
        """The models with a result of a task; without a head, one of each distillation."""
        found = [model for model in self.runs.models if task.name in self.folders[model.name]]
        return found if task.trained else one_per_distillation(found)

    def items(self, task: Task) -> list[list[Items]]:
        """The items of a task by seed: distillations where there are several, else heads; UserError as `items_of`."""
        seeds: dict[str, list[Items]] = {}
        problems = []
        for model in self.models(task):
            seed = model.distillation if self.runs.distillations > 1 else model.name
            try:
                if not self.folders[model.name][task.name]:
                    raise UserError(f"results.json names no folder of a run of {model.name}")
                parts = [items_of(folder, task) for folder in self.folders[model.name][task.name]]
            except UserError as error:
                problems.append(str(error))
                continue
            seeds.setdefault(seed, []).append(joined(parts, strata=True) if task.folds else parts[0])
        if problems:
            raise UserError("\n".join(problems))
        return list(seeds.values())


@dataclass(frozen=True)
class Compared:
    """The difference on one metric, with its p value corrected for the number of metrics."""

    task: Task
    metric: Metric
    found: Difference
    corrected: float

    @property
    def word(self) -> str:
        """What the first student is: better or worse if interval and corrected p value say so, else level."""
        if self.corrected >= SIGNIFICANT or self.found.low <= 0 <= self.found.high:
            return LEVEL
        return BETTER if (self.found.difference > 0) == self.metric.higher_is_better else WORSE


@dataclass(frozen=True)
class LeftOut:
    """A task that is not compared, and one reason for it."""

    task: Task
    reason: str


def read_pair(suite: Path, names: Sequence[str]) -> tuple[Student, Student]:
    """Two students of a suite's results.json; UserError for a name that is not there, or twice the same."""

    def take(path: Path, content: Mapping[str, Any]) -> tuple[Student, Student]:
        models = [stored_model(name, entry) for name, entry in content["students"].items()]
        problems = [problem for name in names if (problem := _unknown(name, models, path))]
        if names[0] == names[1]:
            problems.append(f"--compare: found {names[0]} twice, expected two students")
        if problems:
            raise UserError("\n".join(problems))
        first, second = (
            student(name, [model.name for model in _chosen(name, models)], content, path.parent) for name in names
        )
        return first, second

    return read_results(suite, take)


def student(name: str, models: Sequence[str], content: Mapping[str, Any], root: Path) -> Student:
    """A student by the names of its models.

    Args:
        content: the content of a suite's results.json, which lies in the folder `root`.
    """
    entries = content["students"]
    tasks = {model: entries[model]["tasks"] for model in models}
    return Student(
        name,
        replicas([stored_model(model, entries[model]) for model in models]),
        {
            model: {
                task: [moved_folder(root, folder) for folder in one.get("folders", ())] for task, one in found.items()
            }
            for model, found in tasks.items()
        },
        {model: {task: list(one["values"]) for task, one in found.items()} for model, found in tasks.items()},
    )


def compare_students(first: Student, second: Student, tasks: Sequence[Task]) -> tuple[list[Compared], list[LeftOut]]:
    """The differences on all metrics, and what is not compared."""
    found: list[tuple[Task, Metric, Difference]] = []
    left_out = []
    for task in tasks:
        lacking = [student.name for student in (first, second) if not student.models(task)]
        try:
            if lacking:
                raise UserError(f"{' and '.join(lacking)} {'has' if len(lacking) == 1 else 'have'} no result")
            if not task.statistics:
                raise UserError("its items are not kept")
            ours, theirs = _aligned(first, second, task)
            found += [
                (task, metric, compare(task.statistics[metric.key], ours, theirs))
                for metric in task.metrics
                if metric.key in task.statistics and _measured(metric, task, first, second)
            ]
        except UserError as error:
            left_out += [LeftOut(task, reason) for reason in str(error).split("\n")]
    corrected = holm([difference.p for *_, difference in found])
    return [Compared(*one, p) for one, p in zip(found, corrected, strict=True)], left_out


def _measured(metric: Metric, task: Task, *students: Student) -> bool:
    return all(
        metric.key in student.metrics[model.name][task.name] for student in students for model in student.models(task)
    )


def _aligned(first: Student, second: Student, task: Task) -> tuple[list[list[Items]], list[list[Items]]]:
    """The items of both, in one order."""
    problems, sides = [], []
    for student in (first, second):
        try:
            sides.append(student.items(task))
        except UserError as error:
            problems.append(str(error))
    if problems:
        raise UserError("\n".join(problems))
    names = sides[0][0][0].names
    for run in (run for side in sides for seed in side for run in seed):
        if apart := set(names) ^ set(run.names):
            what = f"the runs were tested on different items ({len(apart):,} are not in all, {few(sorted(apart))})"
            raise UserError(f"{what}; test both students on one corpus")
    ours, theirs = ([[run.ordered(names) for run in seed] for seed in side] for side in sides)
    return ours, theirs


def _chosen(name: str, models: Sequence[BenchmarkedModel]) -> list[BenchmarkedModel]:
    return [model for model in models if model.group == name] or [model for model in models if model.name == name]


def _unknown(name: str, models: Sequence[BenchmarkedModel], path: Path) -> str:
    """The problem with a name that no student has; empty for none."""
    if _chosen(name, models):
        return ""
    known = list(dict.fromkeys(model.group for model in models))
    close = difflib.get_close_matches(name, [*known, *(model.name for model in models)], n=1)
    hint = f"; did you mean {close[0]}?" if close else ""
    return f"--compare: found {name}, expected a student of {path}: {', '.join(known)}{hint}"

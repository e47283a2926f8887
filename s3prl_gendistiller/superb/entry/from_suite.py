"""A finished suite: its results.json, and the experiment folders of each number."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.host.checkpoint import REGULAR
from s3prl_gendistiller.superb.entry.archive import fold_folders
from s3prl_gendistiller.superb.models import BenchmarkedModel
from s3prl_gendistiller.superb.suite.record import RECORD, checked_record
from s3prl_gendistiller.superb.suite.results import RESULTS, read_content
from s3prl_gendistiller.superb.suite.run import RUNS, TEST
from s3prl_gendistiller.superb.tasks import TASKS, Task

T = TypeVar("T")


@dataclass(frozen=True)
class Finished:
    """The results of one student in a results.json.

    Attributes:
        score: the score over all ten tasks; None if there is none.
        values: task -> metric -> number.
        folders: task -> experiment folders of the run that was tested.
    """

    student: BenchmarkedModel
    preset: str
    features: str
    score: float | None
    values: Mapping[str, Mapping[str, float]]
    folders: Mapping[str, Sequence[Path]]

    def submitted(self, names: Sequence[str]) -> tuple[dict[str, Path], list[str]]:
        """Experiment folders of the named tasks by the flags of s3prl's packer, and the problems of these folders.

        Raises:
            UserError: the results are of the preset mini, which would look like an entry and is none.
        """
        if self.preset == "mini":
            expected = "expected those of `gendistiller superb --preset official`"
            raise UserError(f"found results of the preset mini, {expected}: mini trains heads for a tenth of the steps")
        found: dict[str, Path] = {}
        problems: list[str] = []
        for task in (TASKS[name] for name in names):
            if task.folds:
                folds, wrong = fold_folders(task, self.folders[task.name])
                found |= folds
                problems += wrong
            elif task.submissions:
                found[task.submissions[0].flag] = self.folders[task.name][0]
            if task.trained and not task.best:
                problems += _of_another_checkpoint(task, self.folders[task.name][0])
        return found, problems

    def check_student(self) -> None:
        """UserError if the checkpoint is not the one that was benchmarked, or has changed since."""
        checkpoint = self.student.checkpoint
        if checkpoint is None or not checkpoint.exists():
            found = checkpoint or "it has no checkpoint"
            raise UserError(f"{self.student.name}: {found}; expected one of our students")
        now = self.student.fingerprint()
        for folder in (folder for folders in self.folders.values() for folder in folders):
            recorded = _record(folder).get("settings", {}).get("student", now)
            if recorded != now:
                found = f"was made of another student (found {now}, expected {recorded})"
                remedy = "name the checkpoint and the steps that were benchmarked, with --checkpoint and --steps"
                raise UserError(f"{self.student.name}: {folder} {found}; {remedy}")


def read_finished(suite: Path, name: str | None) -> Finished:
    """The results of a student; None for the only one. The source is as in `read_results`."""

    def take(path: Path, content: Mapping[str, Any]) -> Finished:
        return _finished(_chosen(name, list(content["students"]), path), content, path.parent)

    return read_results(suite, take)


def read_results(source: Path, take: Callable[[Path, dict[str, Any]], T]) -> T:
    """The result of `take` for a results.json; UserError for a missing file or key.

    Args:
        source: the folder of `gendistiller superb`, or its results.json.
        take: function of the file's path and content, whose result is returned.
    """
    path = source / RESULTS if source.is_dir() else source
    if not path.is_file():
        raise UserError(f"{path}: no such file; expected the {RESULTS} that `gendistiller superb` wrote")
    try:
        return take(path, read_content(path))
    except KeyError as error:
        expected = f"expected the {RESULTS} of `gendistiller superb`"
        raise UserError(f"{path}: not readable as results ({error}); {expected}") from error


def _chosen(name: str | None, names: list[str], path: Path) -> str:
    if name is None and len(names) == 1:
        return names[0]
    if name in names:
        return str(name)
    close = difflib.get_close_matches(name or "", names, n=1)
    found = "none given" if name is None else f"{name}, which is not there"
    hint = f"; did you mean {close[0]}?" if close else ""
    raise UserError(f"--student: found {found}, expected one of {', '.join(names)} ({path}){hint}")


def _finished(name: str, content: Mapping[str, Any], root: Path) -> Finished:
    entry = content["students"][name]
    checkpoint = None if entry["checkpoint"] is None else Path(entry["checkpoint"])
    tasks = {task: entry["tasks"][task] for task in TASKS if task in entry["tasks"]}
    return Finished(
        student=BenchmarkedModel(name, entry["upstream"], checkpoint, entry.get("steps")),
        preset=content["preset"],
        features=content["features"],
        score=entry["score"],
        values={task: outcome["values"] for task, outcome in tasks.items()},
        folders={task: [moved_folder(root, folder) for folder in found["folders"]] for task, found in tasks.items()},
    )


def moved_folder(root: Path, folder: str) -> Path:
    """A run's folder beside results.json, also where the suite was moved after results.json was written."""
    beside = root / RUNS / Path(folder).parent.name / Path(folder).name
    return beside if beside.is_dir() else Path(folder)


def _of_another_checkpoint(task: Task, folder: Path) -> list[str]:
    """A problem if every checkpoint was tested and the stored predictions are not those of the best checkpoint."""
    count = len(list(folder.glob(REGULAR)))
    tested = _record(folder).get(TEST, {})
    if count < 2 or "checkpoint" in tested:
        return []
    tested_last = f"tested {count} checkpoints, and its predictions are of the last, not of the best"
    again = "test the best again: run_downstream.py -m evaluate -t test -e CHECKPOINT"
    return [f"{task.name}: {folder}: {tested_last}; {again}, then give the folder with --{task.name}"]


def _record(folder: Path) -> dict[str, Any]:
    path = folder / RECORD
    return checked_record(path, {}) if path.is_file() else {}

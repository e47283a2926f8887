"""Which runs a suite consists of, and the command of each: plain run_downstream.py, one experiment folder a run."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.host.mount import CACHE_FLAG
from s3prl_gendistiller.host.paths import VARIABLE, expand_tree
from s3prl_gendistiller.schema import read_layered_yaml
from s3prl_gendistiller.shipped import shipped_folder
from s3prl_gendistiller.superb.students import Student
from s3prl_gendistiller.superb.tasks import Task

RUNS = "runs"
OVERRIDE_SEPARATOR = ",,"
DEV_TRIALS = "dev_trials.txt"

Layers = Mapping[str, Sequence[int | None]]
"""By student, the layers that QbE looks at; None is the last, as `Student.flags` has it."""


@dataclass(frozen=True)
class Suite:
    """What is asked for.

    Attributes:
        students, tasks: all pairs of them.
        preset: "small" or "official".
        out: the folder of everything.
        search: whether the learning rate of a task is chosen on dev, once for each kind of student.
        rates: by task, rates that take the place of the task's own list; one rate needs no search.
        features: "weighted" or "last".
        seed: of every run.
        overrides: more of run_downstream.py's ``-o``, for every training.
        cache: folder where the features of the students are kept, so that they are computed once; None for nowhere.
    """

    students: Sequence[Student]
    tasks: Sequence[Task]
    preset: str
    out: Path
    search: bool = False
    rates: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    features: str = "weighted"
    seed: int = 1337
    overrides: str = ""
    cache: Path | None = None

    def kinds(self) -> dict[str, list[Student]]:
        """The students by kind; the first of a kind is the one that a search looks at."""
        kinds: dict[str, list[Student]] = {}
        for student in self.students:
            kinds.setdefault(student.kind, []).append(student)
        return kinds

    def candidates(self, task: Task) -> tuple[float | None, ...]:
        """Learning rates to try; (None,) leaves the configuration's own."""
        if not task.trained:
            return (None,)
        if task.name in self.rates:
            return self.rates[task.name]
        return task.learning_rates(self.preset) if self.search else (None,)

    def config_file(self, task: Task) -> Path:
        return shipped_folder("downstream_runs") / task.config(self.preset)

    def config(self, task: Task) -> dict[str, Any]:
        """The task's configuration with its paths filled in.

        Raises:
            UserError: SUPERB_DATA is not set, or a folder of the corpus is not there.
        """
        source = self.config_file(task)
        try:
            return dict(expand_tree(read_layered_yaml(source), "", here=source.parent))
        except UserError as error:
            raise UserError(f"{task.name}: {error}") from error


@dataclass(frozen=True)
class Run:
    """One experiment folder of s3prl.

    Attributes:
        lr: None leaves the configuration's own.
        fold: of ER.
        layer: of QbE, together with the split that is looked at.
        split: of QbE.
    """

    suite: Suite
    student: Student
    task: Task
    lr: float | None = None
    fold: str | None = None
    layer: int | None = None
    split: str | None = None

    @property
    def name(self) -> str:
        layer = None if self.layer is None else f"layer{self.layer}"
        rate = None if self.lr is None else f"lr{self.lr:g}"
        return "-".join(part for part in (self.task.name, self.fold, layer, self.split, rate) if part is not None)

    @property
    def folder(self) -> Path:
        return self.suite.out.absolute() / RUNS / self.student.name / self.name

    def settings(self) -> dict[str, Any]:
        """What decides the result; a folder that was made with other settings is not this run."""
        # with the corpora's place, which is in the environment, and without that of this package
        config = self.suite.config_file(self.task)
        content = json.dumps([read_layered_yaml(config), os.path.abspath(os.environ[VARIABLE])], sort_keys=True)
        return {
            "student": self.student.fingerprint(),
            "task": self.name,
            "config": hashlib.sha256(content.encode()).hexdigest()[:16],
            "features": f"{self.suite.features}, cached" if self._cache() else self.suite.features,
            "seed": self.suite.seed,
            "overrides": self.suite.overrides,
        }

    def train_command(self) -> list[str]:
        """Arguments of run_downstream.py; ``-a`` goes on with a run that was killed."""
        overrides = [self.suite.overrides] if self.suite.overrides else []
        if self.lr is not None:
            overrides.append(f"config.optimizer.lr={self.lr!r}")
        if self.fold is not None:
            overrides.append(f"config.downstream_expert.datarc.test_fold={self.fold!r}")
        options = ["-o", OVERRIDE_SEPARATOR.join(overrides)] if overrides else []
        return ["-m", "train", *self._source(self.suite.features), "-a", *options]

    def test_command(self, checkpoint: Path | None, split: str, trials: Path | None = None) -> list[str]:
        """Arguments of run_downstream.py.

        Args:
            checkpoint: of a trained task; None for QbE.
            split: s3prl's name.
            trials: list of ASV to take instead of the test set's.
        """
        if checkpoint is None:
            source = self._source("last") if self.layer is None else [*self._source("weighted"), "-l", str(self.layer)]
            return ["-m", "evaluate", "-t", split, *source]
        options = []
        if trials is not None:
            options = ["-o", f"config.downstream_expert.datarc.test_meta_data={str(trials)!r}"]
        return ["-m", "evaluate", "-t", split, "-e", str(checkpoint), *options]

    def _source(self, features: str) -> list[str]:
        config = ["-c", str(self.suite.config_file(self.task)), "-p", str(self.folder)]
        given = [*self.student.flags(features), "-d", self.task.downstream, *config, "--seed", str(self.suite.seed)]
        return [*given, *self._cache()]

    def _cache(self) -> list[str]:
        """Not for tasks that crop at random, nor for an upstream without weights, which is quicker than the disk."""
        if self.suite.cache is None or self.suite.preset in self.task.crops or self.student.checkpoint is None:
            return []
        return [CACHE_FLAG, str(self.suite.cache.absolute())]


def trained_runs(suite: Suite, student: Student, task: Task, lr: float | None) -> list[Run]:
    """The runs of one student on one task: one, or one a fold."""
    return [Run(suite, student, task, lr, fold) for fold in task.folds or (None,)]


def layer_run(suite: Suite, student: Student, task: Task, layer: int | None, split: str) -> Run:
    """QbE at one layer; None is the last, as `Student.flags` has it."""
    return Run(suite, student, task, layer=layer, split=split)


def planned_commands(suite: Suite, layers: Layers) -> list[list[str]]:
    """Every command of a suite that has no results yet, in order; where dev decides, the first candidate stands.

    Args:
        layers: by student, those that QbE looks at.
    """
    commands = []
    for students in suite.kinds().values():
        for task in suite.tasks:
            rates = suite.candidates(task)
            first = trained_runs(suite, students[0], task, None)[0]
            tried = [replace(first, lr=rate) for rate in rates] if len(rates) > 1 else []
            commands += [run.train_command() for run in tried[1:]]
            for student in students:
                commands += _student_commands(suite, student, task, rates[0], layers)
    return commands


def _student_commands(suite: Suite, student: Student, task: Task, lr: float | None, layers: Layers) -> list[list[str]]:
    if not task.trained:
        looked = [layer_run(suite, student, task, layer, task.dev) for layer in layers[student.name]]
        return [run.test_command(None, run.split or "") for run in [*looked, replace(looked[0], split=task.test)]]
    commands = []
    for run in trained_runs(suite, student, task, lr):
        checkpoint = run.folder / (task.best or "states-*.ckpt")
        commands += [run.train_command(), run.test_command(checkpoint, task.test)]
    return commands


def write_dev_trials(run: Run) -> Path:
    """ASV's trials between speakers of dev/, in a form that s3prl's test set reads: it looks below test/wav only.

    Raises:
        UserError: the corpus has no such list.
    """
    datarc = run.suite.config(run.task)["downstream_expert"]["datarc"]
    lines = Path(datarc["dev_meta_data"]).read_text(encoding="utf-8").splitlines()
    trials = [line.split() for line in lines if line.strip()]
    if not trials or any(len(trial) != 3 for trial in trials):
        raise UserError(f"{datarc['dev_meta_data']}: expected lines of 1 or 0 and two paths below dev/wav")
    path = run.folder / DEV_TRIALS
    text = "".join(f"{same} ../../dev/wav/{first} ../../dev/wav/{second}\n" for same, first, second in trials)
    path.write_text(text, encoding="utf-8")
    return path

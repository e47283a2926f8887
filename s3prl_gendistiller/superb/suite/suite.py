"""Which runs a suite consists of, and the command of each: plain run_downstream.py, one experiment folder a run."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.host.feature_store import CACHE_FLAG, LIMIT_FLAG
from s3prl_gendistiller.host.overrides import OVERRIDE_SEPARATOR, apply_overrides
from s3prl_gendistiller.host.paths import VARIABLE, expand_tree
from s3prl_gendistiller.schema import read_layered_yaml
from s3prl_gendistiller.shipped import shipped_folder
from s3prl_gendistiller.superb.models import Student
from s3prl_gendistiller.superb.suite.language_model import decoder_overrides
from s3prl_gendistiller.superb.tasks import Metric, Task

RUNS = "runs"
HARDWARE = ("12gb", "8gb")
"""Sizes of a GPU for which some tasks have a file that computes the published batch in parts.

The published ones fit 16 GB (s3prl issue 360). By calculation HuBERT's CNN takes 20 MB for each second of audio in a
batch: three copies of 512 channels, 3,200 times a second. ASR's longest batches are 16 x 24 s, PR's 300 s, SF's 250 s.
All others stay under 200 s, or 4 GB: SD 8 x 24 s, IC 32 x 6 s, ER 4 x 34 s, ASV and SID 10 and 8 crops of 8 s, KS 32 s.
"""

Layers = Mapping[str, Sequence[int | None]]
"""By student, the layers that QbE looks at; None is the last, as `Student.flags` has it."""


def texts(content: Any) -> Iterator[str]:
    """Every text of nested mappings and lists."""
    if isinstance(content, str):
        yield content
    elif isinstance(content, Mapping | list):
        for value in content.values() if isinstance(content, Mapping) else content:
            yield from texts(value)


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
        cache_limit: bytes that it may hold; None for as much as there is room.
        halving: whether a search drops rates early, see `search`; without, it trains all of them to the end.
        hardware: of `HARDWARE`, the size of a GPU on which published batches do not fit; None for 16 GB and more.
        lm: folder of ASR's language model, see `decoding`; None for none.
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
    cache_limit: int | None = None
    halving: bool = False
    hardware: str | None = None
    lm: Path | None = None

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

    def metrics(self, task: Task) -> tuple[Metric, ...]:
        """The columns of a task."""
        return (*task.metrics, task.lm_metric) if self.lm and task.lm_metric else task.metrics

    def config_file(self, task: Task) -> Path:
        published = shipped_folder("downstream_runs") / task.config(self.preset)
        fitting = published.with_name(f"{published.stem}_{self.hardware}{published.suffix}")
        return fitting if self.hardware and fitting.is_file() else published

    def content(self, task: Task) -> dict[str, Any]:
        """The task's configuration with the overrides, its paths as they stand."""
        return apply_overrides(read_layered_yaml(self.config_file(task)), self.overrides)

    def paths(self) -> list[tuple[str, str]]:
        """Name of a task and a path below SUPERB_DATA that its configuration names, as it stands there."""
        found = [(task.name, text) for task in self.tasks for text in texts(self.content(task)) if VARIABLE in text]
        return list(dict.fromkeys(found))

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

    def train_command(self, steps: int | None = None) -> list[str]:
        """Arguments of run_downstream.py; ``-a`` goes on with a run that was killed, or trained for fewer steps.

        Args:
            steps: to train in all; None leaves the configuration's own.
        """
        overrides = [self.suite.overrides] if self.suite.overrides else []
        if steps is not None:  # after the suite's own, which s3prl reads first
            overrides.append(f"config.runner.total_steps={steps}")
        if self.lr is not None:
            overrides.append(f"config.optimizer.lr={self.lr!r}")
        if self.fold is not None:
            overrides.append(f"config.downstream_expert.datarc.test_fold={self.fold!r}")
        options = ["-o", OVERRIDE_SEPARATOR.join(overrides)] if overrides else []
        return ["-m", "train", *self._source(self.suite.features), "-a", *options]

    def test_command(
        self, checkpoint: Path | None, split: str, trials: Path | None = None, lm: Path | None = None
    ) -> list[str]:
        """Arguments of run_downstream.py.

        Args:
            checkpoint: of a trained task; None for QbE.
            split: s3prl's name.
            trials: list of ASV to take instead of the test set's.
            lm: folder of a language model that ASR decodes with.
        """
        if checkpoint is None:
            source = self._source("last") if self.layer is None else [*self._source("weighted"), "-l", str(self.layer)]
            return ["-m", "evaluate", "-t", split, *source]
        overrides = [] if lm is None else decoder_overrides(lm)
        if trials is not None:
            overrides.append(f"config.downstream_expert.datarc.test_meta_data={str(trials)!r}")
        options = ["-o", OVERRIDE_SEPARATOR.join(overrides)] if overrides else []
        return ["-m", "evaluate", "-t", split, "-e", str(checkpoint), *options]

    def _source(self, features: str) -> list[str]:
        config = ["-c", str(self.suite.config_file(self.task)), "-p", str(self.folder)]
        given = [*self.student.flags(features), "-d", self.task.downstream, *config, "--seed", str(self.suite.seed)]
        return [*given, *self._cache()]

    def _cache(self) -> list[str]:
        """Not for tasks that crop nearly all at random, nor for an upstream that is quicker than the disk."""
        if self.suite.cache is None or self.suite.preset in self.task.crops or not self.student.weights:
            return []
        limit = [] if self.suite.cache_limit is None else [LIMIT_FLAG, str(self.suite.cache_limit)]
        return [CACHE_FLAG, str(self.suite.cache.absolute()), *limit]


def trained_runs(suite: Suite, student: Student, task: Task, lr: float | None) -> list[Run]:
    """The runs of one student on one task: one, or one a fold."""
    return [Run(suite, student, task, lr, fold) for fold in task.folds or (None,)]


def layer_run(suite: Suite, student: Student, task: Task, layer: int | None, split: str) -> Run:
    """QbE at one layer; None is the last, as `Student.flags` has it."""
    return Run(suite, student, task, layer=layer, split=split)

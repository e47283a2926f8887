"""A run: one experiment folder of s3prl, and its commands of run_downstream.py."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from s3prl_gendistiller.host.feature_store import CACHE_FLAG, LIMIT_FLAG
from s3prl_gendistiller.host.overrides import OVERRIDE_SEPARATOR
from s3prl_gendistiller.host.paths import VARIABLE
from s3prl_gendistiller.schema import read_layered_yaml
from s3prl_gendistiller.superb.models import BenchmarkedModel
from s3prl_gendistiller.superb.suite.language_model import decoder_overrides
from s3prl_gendistiller.superb.suite.suite import Suite
from s3prl_gendistiller.superb.tasks import Task

RUNS = "runs"
TEST, DEV, TEST_WITH_LM = "tested", "dev", "tested_lm"
"""Evaluations of a run, by their key in its record: on the test set, on dev (ASV alone), on test with the suite's
language model (ASR alone)."""


@dataclass(frozen=True)
class Run:
    """One experiment folder of s3prl.

    Attributes:
        lr: learning rate; None leaves the configuration's own.
        fold: ER's fold.
        layer, split: QbE's layer and split, since dev and test have different folders; None is the last layer.
    """

    suite: Suite
    model: BenchmarkedModel
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
    def seed(self) -> int:
        """The seed of the head: the model's own, else the suite's."""
        return self.suite.seed if self.model.head_seed is None else self.model.head_seed

    @property
    def folder(self) -> Path:
        return self.suite.out.absolute() / RUNS / self.model.name / self.name

    @property
    def dev_trials(self) -> Path:
        """ASV's list of trials between speakers of dev."""
        return self.folder / "dev_trials.txt"

    @property
    def runner(self) -> dict[str, Any]:
        """The section of the configuration that holds the numbers of steps."""
        return dict(self.suite.content(self.task)["runner"])

    @property
    def tested_split(self) -> str:
        """s3prl's name of the split that an evaluation names with ``-t``."""
        return self.split or self.task.test

    def settings(self) -> dict[str, Any]:
        """Everything that decides the result; a folder with other settings belongs to another run."""
        # with the place of the corpora, which is in the environment, and without the place of this package
        config = self.suite.config_file(self.task)
        content = json.dumps([read_layered_yaml(config), os.path.abspath(os.environ[VARIABLE])], sort_keys=True)
        return {
            "student": self.model.fingerprint(),
            "task": self.name,
            "config": hashlib.sha256(content.encode()).hexdigest()[:16],
            "features": f"{self.suite.features}, cached" if self._cache() else self.suite.features,
            "seed": self.seed,
            "overrides": self.suite.overrides,
        }

    def train_command(self, steps: int | None = None) -> list[str]:
        """Arguments of run_downstream.py; ``-a`` goes on with a run that was killed, or trained for fewer steps."""
        overrides = [self.suite.overrides] if self.suite.overrides else []
        if steps is not None:  # after the suite's own overrides, which s3prl reads first
            overrides.append(f"config.runner.total_steps={steps}")
        if self.lr is not None:
            overrides.append(f"config.optimizer.lr={self.lr!r}")
        if self.fold is not None:
            overrides.append(f"config.downstream_expert.datarc.test_fold={self.fold!r}")
        return ["-m", "train", *self._source(self.suite.features), "-a", *_options(overrides)]

    def evaluate_command(self, checkpoint: Path | None, evaluation: str = TEST) -> list[str]:
        """Arguments of run_downstream.py, by the checkpoint of the head (None for QbE) and an evaluation."""
        evaluate = ["-m", "evaluate", "-t", self.tested_split]
        if checkpoint is None:
            source = self._source("last") if self.layer is None else [*self._source("weighted"), "-l", str(self.layer)]
            return [*evaluate, *source]
        overrides = []
        if evaluation == TEST_WITH_LM and self.suite.lm is not None:
            overrides = decoder_overrides(self.suite.lm)
        if evaluation == DEV:
            overrides = [f"config.downstream_expert.datarc.test_meta_data={str(self.dev_trials)!r}"]
        return [*evaluate, "-e", str(checkpoint), *_options(overrides)]

    def _source(self, features: str) -> list[str]:
        config = ["-c", str(self.suite.config_file(self.task)), "-p", str(self.folder)]
        given = [*self.model.flags(features), "-d", self.task.downstream, *config, "--seed", str(self.seed)]
        return [*given, *self._cache()]

    def _cache(self) -> list[str]:
        """Flags of the cache; none for tasks that crop at random, and for an upstream that is quicker than a disk."""
        if self.suite.cache is None or self.suite.preset in self.task.crops or not self.model.weights:
            return []
        limit = [] if self.suite.cache_limit is None else [LIMIT_FLAG, str(self.suite.cache_limit)]
        return [CACHE_FLAG, str(self.suite.cache.absolute()), *limit]


def trained_runs(suite: Suite, model: BenchmarkedModel, task: Task, lr: float | None) -> list[Run]:
    """The runs of one model on one task: one, or one for each fold."""
    return [Run(suite, model, task, lr, fold) for fold in task.folds or (None,)]


def _options(overrides: list[str]) -> list[str]:
    return ["-o", OVERRIDE_SEPARATOR.join(overrides)] if overrides else []

"""A suite: the models, the tasks on which each model is benchmarked, and the settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from s3prl_gendistiller.documents import leaves
from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.host.overrides import apply_overrides
from s3prl_gendistiller.host.paths import VARIABLE, expand_tree
from s3prl_gendistiller.schema import read_layered_yaml
from s3prl_gendistiller.shipped import shipped_folder
from s3prl_gendistiller.superb.models import BenchmarkedModel, one_per_distillation
from s3prl_gendistiller.superb.tasks import Metric, Task

HARDWARE = ("12gb", "8gb")
"""Sizes of a GPU for which some tasks have a file that computes the published batch in parts.

The published batches fit 16 GB (s3prl issue 360). By calculation HuBERT's CNN takes 20 MB for each second of audio in a
batch: three copies of 512 channels, 3,200 times a second. ASR's longest batches are 16 x 24 s, PR's 300 s, SF's 250 s.
All others stay under 200 s, or 4 GB: SD 8 x 24 s, IC 32 x 6 s, ER 4 x 34 s, ASV and SID 10 and 8 crops of 8 s, KS 32 s.
"""

Layers = Mapping[str, Sequence[int | None]]
"""Layers on which QbE is evaluated, by model; None is the last layer, as in `BenchmarkedModel.flags`."""


@dataclass(frozen=True)
class Suite:
    """The settings of a suite.

    Attributes:
        models, tasks: each model is benchmarked on each task.
        preset: one of `PRESETS`, which every task has.
        search: whether the learning rate of a task is chosen on dev, once for each group of seeds.
        rates: learning rates by task, in place of the task's own list; a single rate needs no search.
        features: "weighted" or "last".
        seed: the seed of every run whose model names no seed of its own.
        overrides: run_downstream.py's ``-o`` for every training.
        cache: folder in which the models' features are kept, so that they are computed once; None keeps none.
        cache_limit: bytes that the cache may hold; None for as much as the disk has room for.
        halving: whether a search drops learning rates early, see `learning_rate_search`.
        hardware: the size of a GPU on which published batches do not fit, from `HARDWARE`; None for 16 GB and more.
        lm: folder of ASR's language model, see `language_model`; None for none.
        synthetic: whether the speech is of `gendistiller corpus`, which tables and pictures then say.
    """

    models: Sequence[BenchmarkedModel]
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
    synthetic: bool = False

    def groups(self) -> dict[str, list[BenchmarkedModel]]:
        """The models by group of seeds; a search trains the first model of a group."""
        names = dict.fromkeys(model.group for model in self.models)
        return {name: [model for model in self.models if model.group == name] for name in names}

    def evaluated(self, task: Task) -> dict[str, list[BenchmarkedModel]]:
        """The models that a task evaluates, by group; a task without a head has no seeds of heads."""
        if task.trained:
            return self.groups()
        return {name: one_per_distillation(models) for name, models in self.groups().items()}

    def checkpoints(self) -> list[tuple[BenchmarkedModel, BenchmarkedModel]]:
        """Each model with the first model of its distillation, which has the same checkpoint and the same cost."""
        first = {model.distillation: model for model in one_per_distillation(self.models)}
        return [(model, first[model.distillation]) for model in self.models]

    def sharing(self, model: BenchmarkedModel, task: Task) -> list[str]:
        """Names of the models that share one model's result: all of its distillation, if the task trains no head."""
        if task.trained:
            return [model.name]
        return [other.name for other in self.models if other.distillation == model.distillation]

    def candidates(self, task: Task) -> tuple[float | None, ...]:
        """Learning rates to try; (None,) leaves the configuration's own."""
        if not task.trained:
            return (None,)
        if task.name in self.rates:
            return self.rates[task.name]
        return task.learning_rates(self.preset) if self.search else (None,)

    def metrics(self, task: Task) -> tuple[Metric, ...]:
        """The columns of a task in the table."""
        return (*task.metrics, task.lm_metric) if self.with_lm(task) and task.lm_metric else task.metrics

    def with_lm(self, task: Task) -> bool:
        """Whether the task is evaluated a second time, with a language model."""
        return self.lm is not None and task.lm_metric is not None

    def config_file(self, task: Task) -> Path:
        published = shipped_folder("downstream_runs") / task.config(self.preset)
        fitting = published.with_name(f"{published.stem}_{self.hardware}{published.suffix}")
        return fitting if self.hardware and fitting.is_file() else published

    def content(self, task: Task) -> dict[str, Any]:
        """The task's configuration with the overrides; the variables in its paths are not replaced."""
        return apply_overrides(read_layered_yaml(self.config_file(task)), self.overrides)

    def paths(self) -> list[tuple[str, str]]:
        """Task and path, of each path below SUPERB_DATA in a configuration, with the variable in it."""
        found = [
            (task.name, text)
            for task in self.tasks
            for _, text in leaves(self.content(task))
            if isinstance(text, str) and VARIABLE in text
        ]
        return list(dict.fromkeys(found))

    def config(self, task: Task) -> dict[str, Any]:
        """The task's configuration without the overrides, paths filled in; UserError for a missing folder."""
        source = self.config_file(task)
        try:
            return dict(expand_tree(read_layered_yaml(source), "", here=source.parent))
        except UserError as error:
            raise UserError(f"{task.name}: {error}") from error

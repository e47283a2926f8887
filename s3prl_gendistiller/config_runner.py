"""Every key of the runner configuration (``-c``), with its type, default and range: s3prl's own file.

It holds the sections `runner`, `optimizer`, `scheduler` and `pretrain_expert.datarc`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from s3prl_gendistiller.config_optimizer import TrainedConfig
from s3prl_gendistiller.schema import key
from s3prl_gendistiller.spellings import LIBRI_ROOT


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """`pretrain_expert.datarc` of the runner YAML: the speech, and how it is cut into batches."""

    root: str = key(also=LIBRI_ROOT, about="folder that the paths in the manifests are relative to")
    file_path: str = key(about="folder that holds the manifests")
    sets: tuple[str, ...] = key(about="names of the manifests of the training speech, without .csv")
    train_batch_size: int = key(24, low=1, about="utterances in a batch")
    num_workers: int = key(4, low=0, about="processes that read audio; 0: no process beside the run")
    crop_samples: int = key(250_000, low=400, about="longest piece of an utterance, in samples; 250,000 are 15.6 s")
    padded_lengths: int | None = key(
        None,
        low=1,
        high=1000,
        about="how many lengths padded batches may have; null: each is as long as its longest crop",
    )
    valid_sets: tuple[str, ...] = key((), about="names of the manifests of the held-out speech, without .csv")
    valid_step: int = key(1000, low=1, about="steps from one score on the held-out speech to the next")
    skip_bad: bool = key(False, about="leave out audio that cannot be read, in place of ending the run")
    cache_teacher: str | None = key(
        None, about="folder that keeps the teacher's layers of each batch, for more trainings with this seed and speech"
    )
    cache_limit: str | None = key(None, about="most that this folder may hold, such as 50G; null: what the disk has")
    cache_precision: str = key(
        "float32", choices=("float32", "float16"), about="numbers in this folder; float16 takes half the disk"
    )

    def problems(self) -> Iterator[str]:
        if not self.sets:
            yield "sets: found an empty list, expected at least one manifest name"
        if self.cache_teacher is None:
            for name in ("cache_limit", "cache_precision"):
                if getattr(self, name) != self.__dataclass_fields__[name].default:
                    found = f"{name}: found {getattr(self, name)} without cache_teacher"
                    yield f"{found}, to which it belongs; name that folder, or leave {name} out"


@dataclass(frozen=True, kw_only=True)
class LoopConfig:
    """The keys that both of s3prl's Runners read from `runner`."""

    total_steps: int = key(low=1, about="optimiser steps of the run")
    log_step: int = key(low=1, about="steps from one entry of the metrics to the next")
    save_step: int = key(low=1, about="steps from one checkpoint to the next")
    max_keep: int = key(low=1, about="checkpoints kept; the oldest is deleted once the newest is written")
    gradient_clipping: float = key(above=0.0, about="largest norm of the gradient")
    gradient_accumulate_steps: int = key(low=1, about="batches of one optimiser step")
    fp16: bool = key(False, about="float16 on a GPU, with a scaled loss; ignored on a CPU")


@dataclass(frozen=True, kw_only=True)
class StockRunnerSectionConfig(LoopConfig):
    """The keys that s3prl's pretrain Runner reads from `runner`."""

    total_steps: int  # -1 in s3prl's own files that count epochs
    n_epochs: int = key(about="above 0: length of the run in epochs, in place of total_steps")

    def problems(self) -> Iterator[str]:
        if self.total_steps < 1 and self.n_epochs <= 0:
            yield f"total_steps: found {self.total_steps}, expected at least 1"


@dataclass(frozen=True, kw_only=True)
class RunnerSectionConfig(StockRunnerSectionConfig):
    """`runner` of the tasks of this package."""

    gradient_accumulate_steps: int = key(1, low=1)
    n_epochs: int = -1

    def problems(self) -> Iterator[str]:
        yield from super().problems()
        for name in ("log_step", "save_step"):
            if self.n_epochs <= 0 and getattr(self, name) > self.total_steps:
                yield f"{name}: found {getattr(self, name)}, expected at most total_steps {self.total_steps}"


@dataclass(frozen=True)
class PretrainExpertConfig:
    datarc: DataConfig = key(about="the speech, and how it is cut into batches")


@dataclass(frozen=True, kw_only=True)
class RunnerConfig(TrainedConfig):
    """A whole runner YAML. s3prl's own builders read the sections `optimizer` and `scheduler`."""

    runner: RunnerSectionConfig
    pretrain_expert: PretrainExpertConfig = key(about="the task")

"""The teacher's layers on disk, for many short trainings on the same batches.

A file holds the layers of one whole batch as the teacher computed them. Batches follow from seed and speech
(`distill.data`), so trainings of one seed have equal batches and compute each once. A hash of the samples identifies a
batch: audio that has changed is computed anew. A kept batch equals a computed one bit by bit, padding included, with
the same machine, libraries and number of threads; a crop kept alone would not, because the other crops of a batch
change the last bits of its layers, and more than those where the teacher normalises over padding. With several ranks,
each keeps its shares of the batches; ranks of one machine may use one folder, and their number is a part of its name.

    FOLDER/<teacher's weights>-<their names>-<padding>-layers-4-8-12-float32-<speech>-seed1-crop48000-batch8/<hash>.npz
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from s3prl_gendistiller.config_runner import DataConfig
from s3prl_gendistiller.distill import ranks
from s3prl_gendistiller.distill.audit import speech_hash
from s3prl_gendistiller.distill.crops import Batch, CropDataset, padded_size
from s3prl_gendistiller.distill.data import HeldOutLoader, TrainLoader
from s3prl_gendistiller.distill.task import DistillTask
from s3prl_gendistiller.distill.teacher import SampleGroupNorm, Teacher
from s3prl_gendistiller.errors import UserError, few
from s3prl_gendistiller.host.feature_store import FREE_BYTES, FeatureCache, free_bytes, in_words, kept_bytes, read_size
from s3prl_gendistiller.host.paths import expand

KEY, LIMIT_KEY, PRECISION_KEY = (
    f"pretrain_expert.datarc.{name}" for name in ("cache_teacher", "cache_limit", "cache_precision")
)
TEACHER_FLAG = "--cache-teacher"  # of run_pretrain.py, for the first of these keys
MARK = ".teacher_cache"
FRAME = 320  # samples of a frame, to foretell sizes

Loader = TrainLoader | HeldOutLoader
logger = logging.getLogger(__name__)


class TargetCache:
    """The layers of one teacher in a folder, which several trainings and teachers may share.

    Args:
        fingerprint: hash of the teacher's weights, `distill.weights.values_hash`.
        data: the keys that name the folder, its limit and the precision.

    Raises:
        UserError: the folder holds something else or cannot be written, or the limit is no size.
    """

    def __init__(self, teacher: Teacher, fingerprint: str, data: DataConfig) -> None:
        assert data.cache_teacher is not None
        limit = None if data.cache_limit is None else read_size(data.cache_limit, LIMIT_KEY)
        folder = Path(expand(data.cache_teacher, KEY, must_exist=False)).absolute()
        _claim(folder)
        self.store = FeatureCache(folder, limit, flag=KEY)
        self.teacher = teacher
        self.half = data.cache_precision == "float16"
        own = any(isinstance(module, SampleGroupNorm) for module in teacher.encoder.modules())
        self._teacher = "-".join((fingerprint, teacher.naming or teacher.model_type, "own" if own else "whole"))

    def layers(self, batch: Batch, layers: Sequence[int], plan: str, compute: Callable[[], Tensor]) -> Tensor:
        """The teacher's layers (B, L, T, D) of a batch in float32: the kept ones, or computed and then kept.

        Args:
            batch: on the CPU, as the loader gives it.
            plan: name of the order that the batch belongs to, see `plan_of`.
            compute: computes the layers. Its random draws, if it makes any, do not change the state of torch's
                generator on the CPU, because a kept batch makes none.
        """
        name, key = self._name(layers, plan), _batch_key(batch)
        self.store.use(name)
        path = self.store.folder / name / f"{key}.npz"
        states = self.store.load(path, key, None)  # (B, L * T, D)
        if states is not None and len(states) == len(batch.lengths) and states.shape[1] % len(layers) == 0:
            return torch.from_numpy(states).float().unflatten(1, (len(layers), -1))
        with torch.random.fork_rng(devices=[]):
            computed = compute()
        kept = self._rounded(computed)
        self.store.keep(path, kept.flatten(1, 2).cpu().numpy(), key, int(batch.lengths.sum()))
        return kept.float()

    def require_room(self, layers: Sequence[int], plans: Sequence[tuple[Loader, int]]) -> None:
        """Logs how much the batches of loaders take, each with its number of batches, and how much room there is.

        Raises:
            UserError: the disk has too little room and no limit was given, or the folder is full and holds nothing
                of these batches.
        """
        needed = sum(self._bytes(loader, count, len(layers)) for loader, count in plans)
        there = sum(kept_bytes(self.store.folder / self._name(layers, plan_of(loader))) for loader, _ in plans)
        free, limit = free_bytes(self.store.folder), self.store.limit
        held = kept_bytes(self.store.folder)
        bound = "" if limit is None else f", of which it keeps {in_words(limit)} at most and holds {in_words(held)}"
        text = (
            f"{KEY} {self.store.folder}: the teacher's layers of this training take about {in_words(needed)}{bound}; "
            f"{in_words(there)} of them are there, {in_words(free)} of the disk are free"
        )
        missing = max(0, needed - there)
        if limit is None and missing + FREE_BYTES > free:
            raise UserError(
                f"{text}; give {LIMIT_KEY} (such as 50G) to keep a part of them, name a folder on another disk, or "
                "leave the key out"
            )
        if not there and missing and (free < FREE_BYTES or not self.store.has_room()):
            raise UserError(f"{text}; the folder is full, delete what no training needs, or raise {LIMIT_KEY}")
        logger.info("%s", text)

    def _name(self, layers: Sequence[int], plan: str) -> str:
        precision = "float16" if self.half else "float32"
        if self.teacher.dtype != torch.float32:
            precision += f"-computed-{str(self.teacher.dtype).removeprefix('torch.')}"
        return "-".join((self._teacher, "layers", *map(str, layers), precision, plan))

    def _rounded(self, layers: Tensor) -> Tensor:
        """As it will be kept, so that a training does not depend on what was kept before it."""
        if not self.half:
            return layers
        rounded = layers.half()
        if not bool(rounded.isfinite().all()) and bool(layers.isfinite().all()):
            raise UserError(
                f"{PRECISION_KEY}: found float16, expected float32; teacher {self.teacher.name} gives numbers that "
                "float16 cannot hold"
            )
        return rounded

    def _bytes(self, loader: Loader, batches: int, layers: int) -> int:
        """About the bytes of a number of batches, by the first epoch."""
        plan = loader.sampler.batches(0) if isinstance(loader, TrainLoader) else loader.plan
        lengths = loader.crops.crop_lengths
        frames = sum(len(batch) * (padded_size(int(lengths[batch].max()), loader.sizes) // FRAME) for batch in plan)
        return round(frames * batches / len(plan)) * layers * self.teacher.width * (2 if self.half else 4)


class TaughtBatches:
    """The teacher's layers of a task's batches, by way of a cache."""

    def __init__(
        self, cache: TargetCache, task: DistillTask, train: TrainLoader | None, valid: HeldOutLoader | None
    ) -> None:
        self.cache, self.task, self.train, self.valid = cache, task, train, valid
        self._plans = {loader: plan_of(loader) for loader in (train, valid) if loader is not None}

    def of_training(self, batch: Batch, wavs: Tensor, front_end_only: bool = False) -> dict[str, Tensor]:
        """What is known of a training batch, as keywords of `DistillTask.forward`; nothing of a rank's empty share.

        `wavs` are those of the batch on the task's device, where the result is, too.
        """
        assert self.train is not None
        if not len(batch.lengths):
            return {}
        return self._of(batch, wavs, self.task.taught_layers(front_end_only), self._plans[self.train])

    def of_held_out(self, batch: Batch) -> dict[str, Tensor]:
        """What is known of a held-out batch."""
        assert self.valid is not None
        wavs = batch.wavs.to(next(self.task.teacher.parameters()).device)
        return self._of(batch, wavs, self.task.taught_layers(), self._plans[self.valid])

    def require_room(self, batches: int) -> None:
        """`TargetCache.require_room` for the rest of a run: a number of batches, and the held-out speech.

        Rank 0 speaks for all ranks, as if they shared one disk; the others learn of a fault at the first step.
        """
        if ranks.rank():
            return
        plans: list[tuple[Loader, int]] = [] if self.train is None else [(self.train, batches)]
        if self.valid is not None:
            plans.append((self.valid, len(self.valid)))
        self.cache.require_room(self.task.taught_layers(), plans)

    def _of(self, batch: Batch, wavs: Tensor, layers: list[int], plan: str) -> dict[str, Tensor]:
        known: dict[str, Tensor] = {}

        def compute() -> Tensor:
            if not self.task.share_front_end:
                return self.task.teacher(wavs, batch.lengths, layers)
            states, known["features"] = self.task.teacher.with_features(wavs, batch.lengths, layers)
            return states

        known["taught"] = self.cache.layers(batch, layers, plan, compute).to(wavs.device)
        return known


def plan_of(loader: Loader) -> str:
    """The end of a folder's name, of all that decides the batches of a loader."""
    crops: CropDataset = loader.crops
    training = isinstance(loader, TrainLoader)
    size = loader.sampler.batch_size if isinstance(loader, TrainLoader) else len(loader.plan[0])
    order = f"seed{crops.seed}" if training else "held_out"
    shares = f"-ranks{ranks.world()}" if training and ranks.world() > 1 else ""  # held-out batches are not divided
    return f"{speech_hash(crops)}-{order}-crop{crops.crop_samples}-batch{size}{shares}"


def _batch_key(batch: Batch) -> str:
    """32 hexadecimal digits of lengths and samples."""
    digest = hashlib.sha256(batch.lengths.numpy().tobytes())
    digest.update(np.ascontiguousarray(batch.wavs.numpy()).data)
    return digest.hexdigest()[:32]


def _claim(folder: Path) -> None:
    """Marks a new or empty folder as a cache; a UserError for a folder that holds anything else."""
    mark = folder / MARK
    try:
        folder.mkdir(parents=True, exist_ok=True)
        others = [path.name for path in folder.iterdir()]
        if others and not mark.is_file():
            raise UserError(
                f"{KEY} {folder}: found a folder with {few(sorted(others))}, expected a new or empty folder, or one "
                "that this key has made; name another folder"
            )
        mark.touch()
    except OSError as error:
        raise UserError(
            f"{KEY} {folder}: cannot be written ({error.strerror or error}); name another folder"
        ) from error

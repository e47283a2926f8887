"""Training batches whose order is a pure function of the seed and of the number of batches before.

The batches of an epoch follow from (seed, epoch), a crop from (seed, epoch, utterance). No global random number
generator and no worker process influences the order. A run that resumes after k batches therefore gets the batches
that an unbroken run would have got, with any number of workers. With several ranks (`ranks`), each loads its share of
the same batches, and positions count whole batches.
"""

from __future__ import annotations

import functools
import itertools
import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import DataLoader

from s3prl_gendistiller.distill import ranks
from s3prl_gendistiller.distill.crops import Batch, CropDataset, LoadedBatch, collate, padded_size
from s3prl_gendistiller.distill.manifest import read_manifest
from s3prl_gendistiller.errors import UserError

logger = logging.getLogger(__name__)

Key = tuple[int, int]
"""Epoch and utterance of a crop."""
LENGTH_JITTER = 0.1
"""Share by which lengths vary at random before they are sorted; neighbours then differ from epoch to epoch."""


def shortest_first(lengths: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Indices of the utterances by blurred length, (utterances,): neighbours are of similar length."""
    return np.argsort(lengths * (1 + LENGTH_JITTER * rng.random(len(lengths))), kind="stable")


class BucketBatchSampler:
    """Assignment of utterances to batches: similar lengths together, with another assignment in every epoch.

    If `batch_size` does not divide the number of utterances, the smaller batch is at a random place among the lengths.
    """

    def __init__(self, lengths: Sequence[int] | np.ndarray, batch_size: int, seed: int) -> None:
        if batch_size < 1 or len(lengths) < 1:
            raise ValueError(f"batch_size {batch_size}, {len(lengths)} lengths; expected at least 1 of each")
        self.lengths = np.asarray(lengths, dtype=np.int64)
        self.batch_size = batch_size
        self.seed = seed

    def __len__(self) -> int:
        """Batches in an epoch."""
        return -(-len(self.lengths) // self.batch_size)

    def batches(self, epoch: int) -> list[list[int]]:
        """Utterance indices of every batch of an epoch, in order."""
        # Only `random()` and a stable sort: they are least likely to change between numpy versions.
        rng = np.random.default_rng((self.seed, epoch))
        by_length = shortest_first(self.lengths, rng)
        sizes = np.full(len(self), self.batch_size)
        sizes[int(rng.random() * len(self))] -= len(self) * self.batch_size - len(self.lengths)
        buckets = np.split(by_length, np.cumsum(sizes)[:-1])
        return [buckets[i].tolist() for i in np.argsort(rng.random(len(self)), kind="stable")]


class _Loader:
    """Loads planned batches, in worker processes if there are any.

    Bad files raise an error, or are counted with a warning for each; silent files are counted with a warning for all.
    """

    sizes: Sequence[int] = ()  # of padded batches, see `collate`

    def __init__(self, crops: CropDataset, skip_bad: bool, num_workers: int, pin_memory: bool) -> None:
        self.crops = crops
        self.skip_bad = skip_bad
        self.skipped: set[str] = set()
        self.silent: set[str] = set()
        self.num_workers = num_workers
        self.pin_memory = pin_memory

    def __len__(self) -> int:
        """Batches in an epoch."""
        raise NotImplementedError

    def _load(self, plan: Iterable[list[Key]]) -> Iterator[Batch | None]:
        """The batches of a plan of (epoch, utterance index); None for a batch without any good file."""
        loader: DataLoader[LoadedBatch] = DataLoader(
            self.crops,
            batch_sampler=plan,
            num_workers=min(self.num_workers, len(self), os.cpu_count() or 1),  # they do not decide the order
            collate_fn=functools.partial(collate, sizes=self.sizes),
            pin_memory=self.pin_memory,
            generator=torch.Generator().manual_seed(0),  # else DataLoader draws a seed from the global generator
        )
        yield from map(self._accept, loader)

    def _accept(self, loaded: LoadedBatch) -> Batch | None:
        """The batch without its bad files, None if all are bad; a UserError for a bad file if `skip_bad` is off."""
        if loaded.problems and not self.skip_bad:
            raise UserError(loaded.problems[0])
        for problem in loaded.problems:
            if problem not in self.skipped:
                self.skipped.add(problem)
                logger.warning("skipped (%d so far): %s", len(self.skipped), problem)
        if loaded.silent and not self.silent:
            logger.warning("%s: all samples are zero; this file and further files of zeros are kept", loaded.silent[0])
        self.silent.update(loaded.silent)
        return loaded.batch


class TrainLoader(_Loader):
    """The endless stream of training batches, epoch by epoch, as s3prl's Runner iterates over it.

    Each iteration starts where the last iteration stopped and ends with the epoch. Worker processes go on over the end
    of an epoch. With several ranks, each gets its share of every batch, which may be empty: (0, S).

    Args:
        csv_paths: manifests, their paths relative to `root`.
        crop_samples: longest piece of an utterance; None for whole utterances.
        padded_lengths: how many lengths padded batches may have; None pads each batch to its longest crop.
        skip_bad: leave out bad files with a warning instead of raising.

    Raises:
        UserError: as `read_manifest`; while iterating, for a bad audio file.
    """

    def __init__(
        self,
        csv_paths: Sequence[str | Path],
        root: str | Path,
        *,
        batch_size: int,
        crop_samples: int | None,
        seed: int,
        num_workers: int = 0,
        skip_bad: bool = False,
        pin_memory: bool = False,
        padded_lengths: int | None = None,
    ) -> None:
        crops = CropDataset(read_manifest(csv_paths, root, skip_bad=skip_bad), crop_samples, seed)
        super().__init__(crops, skip_bad, num_workers, pin_memory)
        self.sampler = BucketBatchSampler(crops.crop_lengths, batch_size, seed)
        self.batches_done = 0  # batches that were yielded or skipped since the start, without prefetched ones
        self._stream: Iterator[tuple[list[Key], Batch | None]] | None = None
        if padded_lengths is not None:
            longest = int(crops.crop_lengths.max())
            self.sizes = [-(-longest * part // padded_lengths) for part in range(1, padded_lengths + 1)]

    def __len__(self) -> int:
        return len(self.sampler)

    @property
    def dataset(self) -> BucketBatchSampler:
        """The Runner reads the length of an epoch from here; the length counts batches, as in s3prl's own data sets."""
        return self.sampler

    def resume(self, batches_done: int) -> None:
        """Sets the position of an unbroken run after `batches_done`, from the next `iter()` on."""
        if batches_done < 0:
            raise ValueError(f"batches_done is {batches_done}; expected 0 or more")
        self.batches_done, self._stream = batches_done, None

    def __iter__(self) -> Iterator[Batch]:
        """The batches of the rest of the current epoch."""
        offset = self.batches_done % len(self)
        empty = offset == 0
        stream = self._stream or self._endless()
        self._stream = None  # an error ends a stream, so that another iteration needs a new one
        for whole, batch in itertools.islice(stream, len(self) - offset):
            self.batches_done += 1
            batch = self._part(whole, batch)
            if batch is not None:
                empty = False
                self._stream = stream
                yield batch
                self._stream = None
        self._stream = stream
        if empty:
            # Without an error the Runner would start one empty epoch after another.
            skipped = set().union(*ranks.gather(self.skipped))
            raise UserError(f"none of {len(self.crops)} audio files can be read; first: {min(skipped)}")

    def _part(self, whole: Sequence[Key], batch: Batch | None) -> Batch | None:
        """This rank's share of the planned batch `whole`, perhaps empty; None if no rank could read a file of it."""
        if ranks.world() == 1:
            return batch
        samples = padded_size(int(self.sampler.lengths[[index for _, index in whole]].max()), self.sizes)
        if self.skip_bad:
            samples = ranks.largest(0 if batch is None else batch.wavs.shape[1])
        wavs, lengths = batch or (None, None)
        return Batch(*ranks.part(wavs, lengths, samples)) if samples else None

    def _endless(self) -> Iterator[tuple[list[Key], Batch | None]]:
        """Each planned batch, and what of this rank's share of it could be read."""
        plan, wholes = itertools.tee(self._plan())
        return zip(wholes, self._load(list(ranks.share(keys)) for keys in plan), strict=True)

    def _plan(self) -> Iterator[list[Key]]:
        """All batches from the present one on, without end."""
        first, offset = divmod(self.batches_done, len(self))
        for epoch in itertools.count(first):
            for batch in self.sampler.batches(epoch)[offset if epoch == first else 0 :]:
                yield [(epoch, index) for index in batch]


class HeldOutLoader(_Loader):
    """Held-out data in a fixed order, longest first, cut to the middle `crop_samples`; arguments as `TrainLoader`.

    With several ranks, each gets its share of the batches.
    """

    def __init__(
        self,
        csv_paths: Sequence[str | Path],
        root: str | Path,
        *,
        batch_size: int,
        crop_samples: int | None,
        num_workers: int = 0,
        skip_bad: bool = False,
        pin_memory: bool = False,
    ) -> None:
        crops = CropDataset(read_manifest(csv_paths, root, skip_bad=skip_bad), crop_samples, seed=None)
        super().__init__(crops, skip_bad, num_workers, pin_memory)
        order = np.argsort(-crops.num_samples, kind="stable").tolist()
        self.plan = [[(0, index) for index in order[i : i + batch_size]] for i in range(0, len(order), batch_size)]

    def __len__(self) -> int:
        return len(self.plan)

    def __iter__(self) -> Iterator[Batch]:
        yield from (batch for batch in self._load(list(ranks.share(self.plan))) if batch is not None)

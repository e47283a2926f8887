"""Training batches whose order is a pure function of the seed and of the number of batches before.

The batches of an epoch follow from (seed, epoch), a crop from (seed, epoch, utterance). No global random number
generator and no worker process influences the order. A run that resumes after k batches therefore gets the batches
that an unbroken run would have got, with any number of workers. With several ranks (`ranks`), each loads its share of
the same batches, and positions count whole batches.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader, Dataset

from s3prl_gendistiller.distill import ranks
from s3prl_gendistiller.distill.audio import MIN_SAMPLES, read_audio
from s3prl_gendistiller.distill.manifest import Utterance, read_manifest
from s3prl_gendistiller.errors import UserError

logger = logging.getLogger(__name__)

LENGTH_JITTER = 0.1
"""Share by which lengths vary at random before they are sorted; neighbours then differ from epoch to epoch."""


class Batch(NamedTuple):
    """Waveforms of one training step."""

    wavs: Tensor  # (B, S) float32, zero behind each waveform's end
    lengths: Tensor  # (B,) int64, true samples of each waveform

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Batch:
        return Batch(*(tensor.to(device, non_blocking=non_blocking) for tensor in self))

    def pin_memory(self) -> Batch:
        return Batch(*(tensor.pin_memory() for tensor in self))


class Crop(NamedTuple):
    """One utterance from a worker process: a waveform, or the problem with its file."""

    wav: Tensor | None
    problem: str = ""
    silent: str = ""  # the file's name when every sample of the crop is zero


class LoadedBatch(NamedTuple):
    """One planned batch from the worker processes; `batch` is None if none of its files could be read."""

    batch: Batch | None
    problems: tuple[str, ...]
    silent: tuple[str, ...]


class CropDataset(Dataset):
    """Utterances, each cut to at most `crop_samples`.

    Args:
        crop_samples: longest piece of an utterance that is used; None uses whole utterances.
        seed: decides the first sample of every crop; None takes the middle of every utterance.
    """

    def __init__(self, utterances: Sequence[Utterance], crop_samples: int | None, seed: int | None) -> None:
        if crop_samples is not None and crop_samples < MIN_SAMPLES:
            raise ValueError(f"crop_samples is {crop_samples}; expected at least {MIN_SAMPLES}, or None")
        self.crop_samples = crop_samples
        self.seed = seed
        # Arrays of bytes, not objects: 280,000 rows stay at 30 MB and are shared with forked workers.
        self.paths = np.array([os.fsencode(utterance.path) for utterance in utterances])
        self.origins = np.array([utterance.origin.encode() for utterance in utterances])
        self.num_samples = np.array([utterance.num_samples for utterance in utterances], dtype=np.int64)

    def __len__(self) -> int:
        return len(self.num_samples)

    @property
    def crop_lengths(self) -> np.ndarray:
        """Samples that each utterance contributes, (utterances,)."""
        return np.minimum(self.num_samples, self.crop_samples or self.num_samples.max(initial=0))

    def window(self, epoch: int, index: int) -> tuple[int, int]:
        """First sample and length of the piece of an utterance that an epoch uses."""
        total = int(self.num_samples[index])
        length = min(total, self.crop_samples or total)
        place = 0.5 if self.seed is None else np.random.default_rng((self.seed, epoch, index)).random()
        return int(place * (total - length + 1)) if total > length else 0, length

    def __getitem__(self, key: tuple[int, int]) -> Crop:
        """The crop for (epoch, utterance index).

        A file that cannot be used is returned as `problem`: an exception would reach the main process with the
        traceback of the worker process in its message.
        """
        epoch, index = key
        start, length = self.window(epoch, index)
        total = int(self.num_samples[index])
        path = os.fsdecode(self.paths[index])
        try:
            wav = read_audio(path, start=start, num_samples=length, expected_samples=total)
        except UserError as error:
            return Crop(None, f"{self.origins[index].decode()}: {error}")
        return Crop(wav, silent="" if wav.any() else path)


def collate(crops: Sequence[Crop]) -> LoadedBatch:
    """One padded (B, S) batch of the crops that could be read, and the problems of the others."""
    wavs = [crop.wav for crop in crops if crop.wav is not None]
    lengths = torch.tensor([len(wav) for wav in wavs])
    batch = Batch(pad_sequence(wavs, batch_first=True), lengths) if wavs else None
    problems = tuple(crop.problem for crop in crops if crop.problem)
    return LoadedBatch(batch, problems, tuple(crop.silent for crop in crops if crop.silent))


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

    def __init__(self, crops: CropDataset, skip_bad: bool, num_workers: int, pin_memory: bool) -> None:
        self.crops = crops
        self.skip_bad = skip_bad
        self.skipped: set[str] = set()
        self.silent: set[str] = set()
        self.num_workers = num_workers
        self.pin_memory = pin_memory

    def _load(self, epoch: int, plan: Sequence[Sequence[int]]) -> Iterator[Batch | None]:
        """The batches of a plan; None for a batch without any good file."""
        loader: DataLoader[LoadedBatch] = DataLoader(
            self.crops,
            batch_sampler=[[(epoch, index) for index in batch] for batch in plan],
            num_workers=min(self.num_workers, len(plan), os.cpu_count() or 1),  # they do not decide the order
            collate_fn=collate,
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

    Each iteration starts where the last iteration stopped and ends with the epoch. With several ranks, each gets its
    share of every batch, which may be empty: (0, S).

    Args:
        csv_paths: manifests, their paths relative to `root`.
        crop_samples: longest piece of an utterance; None for whole utterances.
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
    ) -> None:
        crops = CropDataset(read_manifest(csv_paths, root, skip_bad=skip_bad), crop_samples, seed)
        super().__init__(crops, skip_bad, num_workers, pin_memory)
        self.sampler = BucketBatchSampler(crops.crop_lengths, batch_size, seed)
        self.batches_done = 0  # batches that were yielded or skipped since the start, without prefetched ones

    def __len__(self) -> int:
        """Batches in an epoch."""
        return len(self.sampler)

    @property
    def dataset(self) -> BucketBatchSampler:
        """The Runner reads the length of an epoch from here; the length counts batches, as in s3prl's own data sets."""
        return self.sampler

    def resume(self, batches_done: int) -> None:
        """Sets the position of an unbroken run after `batches_done`, from the next `iter()` on."""
        if batches_done < 0:
            raise ValueError(f"batches_done is {batches_done}; expected 0 or more")
        self.batches_done = batches_done

    def __iter__(self) -> Iterator[Batch]:
        """The batches of the rest of the current epoch."""
        epoch, offset = divmod(self.batches_done, len(self))
        plan = self.sampler.batches(epoch)[offset:]
        empty = offset == 0
        for whole, batch in zip(plan, self._load(epoch, [ranks.share(batch) for batch in plan]), strict=True):
            self.batches_done += 1
            batch = self._part(whole, batch)
            if batch is not None:
                empty = False
                yield batch
        if empty:
            # Without an error the Runner would start one empty epoch after another.
            skipped = set().union(*ranks.gather(self.skipped))
            raise UserError(f"none of {len(self.crops)} audio files can be read; first: {min(skipped)}")

    def _part(self, whole: list[int], batch: Batch | None) -> Batch | None:
        """This rank's share of the planned batch `whole`, perhaps empty; None if no rank could read a file of it."""
        if ranks.world() == 1:
            return batch
        samples = int(self.sampler.lengths[whole].max())
        if self.skip_bad:
            samples = ranks.largest(0 if batch is None else batch.wavs.shape[1])
        wavs, lengths = batch or (None, None)
        return Batch(*ranks.part(wavs, lengths, samples)) if samples else None


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
        self.plan = [order[i : i + batch_size] for i in range(0, len(order), batch_size)]

    def __len__(self) -> int:
        return len(self.plan)

    def __iter__(self) -> Iterator[Batch]:
        yield from (batch for batch in self._load(0, ranks.share(self.plan)) if batch is not None)

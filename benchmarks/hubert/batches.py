"""Batches of crops of one length, without padding, as in the pretraining of HuBERT."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from s3prl_gendistiller.distill.audio import MIN_SAMPLES, SAMPLE_RATE, read_audio
from s3prl_gendistiller.distill.data import shortest_first
from s3prl_gendistiller.distill.manifest import Utterance
from s3prl_gendistiller.models.upstream import FRAME_SAMPLES


@dataclass(frozen=True)
class Speech:
    """Utterances for training and for validation."""

    train: Sequence[Utterance]
    valid: Sequence[Utterance]

    @property
    def all(self) -> list[Utterance]:
        return [*self.train, *self.valid]


class CropPlan(NamedTuple):
    """Utterances and crops of one batch, before they are read."""

    indices: np.ndarray
    """(B,) utterances."""
    starts: np.ndarray
    """(B,) first frames of the crops."""
    frames: int


class UnitBatch(NamedTuple):
    """One batch."""

    inputs: Tensor
    """(B, S) samples, or (B, T, C) frames of the CNN; float32."""
    units: Tensor
    """(B, T) int64."""


def frames_of(samples: int | np.ndarray) -> int | np.ndarray:
    """Number of frames that HuBERT's CNN computes from a number of samples."""
    return (samples - MIN_SAMPLES) // FRAME_SAMPLES + 1


def samples_of(frames: int) -> int:
    """Smallest number of samples with so many frames."""
    return (frames - 1) * FRAME_SAMPLES + MIN_SAMPLES


class CropPlanner:
    """Plans batches of similar lengths, cut to the shortest of them; every epoch has other batches."""

    def __init__(self, utterances: Sequence[Utterance], crop_seconds: float, batch_seconds: float, seed: int) -> None:
        self.frames = np.array([frames_of(utterance.num_samples) for utterance in utterances])
        self.usable = np.flatnonzero(self.frames >= 2)  # one frame to mask and one to keep
        self.crop = max(2, int(crop_seconds * SAMPLE_RATE) // FRAME_SAMPLES)
        self.budget = int(batch_seconds * SAMPLE_RATE) // FRAME_SAMPLES
        self.seed = seed
        if not len(self.usable):
            raise ValueError(f"none of {len(utterances)} utterances has two frames")

    def epoch(self, number: int) -> Iterator[CropPlan]:
        """Batches of an epoch, a pure function of the seed and the number of the epoch."""
        rng = np.random.default_rng((self.seed, number))
        lengths = np.minimum(self.frames[self.usable], self.crop)
        longest_first = shortest_first(lengths, rng)[::-1]
        groups: list[tuple[list[int], int]] = []
        group: list[int] = []
        shortest = self.crop
        for place in longest_first.tolist():
            shorter = min(shortest, int(lengths[place]))
            if group and (len(group) + 1) * shorter > self.budget:
                groups.append((group, shortest))
                group, shorter = [], int(lengths[place])
            group.append(place)
            shortest = shorter
        groups.append((group, shortest))
        for number_of_group in rng.permutation(len(groups)):
            group, shortest = groups[number_of_group]
            indices = self.usable[group]
            starts = (rng.random(len(indices)) * (self.frames[indices] - shortest + 1)).astype(np.int64)
            yield CropPlan(indices, starts, shortest)

    def forever(self, skip: int = 0) -> Iterator[CropPlan]:
        """Batches of one epoch after another, without the first `skip` batches."""
        number = 0
        while True:
            for plan in self.epoch(number):
                if skip:
                    skip -= 1
                else:
                    yield plan
            number += 1


def read_batch(utterances: Sequence[Utterance], units: Sequence[np.ndarray], plan: CropPlan) -> UnitBatch:
    """Reads the crops of a plan, and the units of their frames.

    Raises:
        UserError: a file cannot be read, or is not as long as the manifest says.
    """
    samples = samples_of(plan.frames)
    wavs = [
        read_audio(
            utterances[index].path,
            start=int(start) * FRAME_SAMPLES,
            num_samples=samples,
            expected_samples=utterances[index].num_samples,
        )
        for index, start in zip(plan.indices, plan.starts, strict=True)
    ]
    rows = [units[i][start : start + plan.frames] for i, start in zip(plan.indices, plan.starts, strict=True)]
    return UnitBatch(torch.stack(wavs), torch.from_numpy(np.stack(rows).astype(np.int64)))


def slice_batch(frames: Sequence[np.ndarray], units: Sequence[np.ndarray], plan: CropPlan) -> UnitBatch:
    """The crops of a plan from frames (T, C) that are in memory."""
    windows = [(i, slice(start, start + plan.frames)) for i, start in zip(plan.indices, plan.starts, strict=True)]
    inputs = np.stack([frames[i][window] for i, window in windows]).astype(np.float32)
    rows = np.stack([units[i][window] for i, window in windows]).astype(np.int64)
    return UnitBatch(torch.from_numpy(inputs), torch.from_numpy(rows))

"""Pieces of utterances and padded batches of them, as worker processes load them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import Dataset

from s3prl_gendistiller.distill.audio import MIN_SAMPLES, read_audio
from s3prl_gendistiller.distill.manifest import Utterance
from s3prl_gendistiller.errors import UserError


class Batch(NamedTuple):
    """Waveforms of one training step."""

    wavs: Tensor  # (B, S) float32, zero behind each waveform's end
    lengths: Tensor  # (B,) int64, true samples of each waveform; always on the CPU, where decisions on them are made

    def pin_memory(self) -> Batch:
        return Batch(self.wavs.pin_memory(), self.lengths)


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


def padded_size(longest: int, sizes: Sequence[int]) -> int:
    """The first of the ascending `sizes` that holds `longest` samples; without such a size, `longest`."""
    return next((size for size in sizes if size >= longest), longest)


def collate(crops: Sequence[Crop], sizes: Sequence[int] = ()) -> LoadedBatch:
    """One padded (B, S) batch of the crops that could be read, and the problems of the others.

    S is the `padded_size` of the longest crop.
    """
    wavs = [crop.wav for crop in crops if crop.wav is not None]
    lengths = torch.tensor([len(wav) for wav in wavs])
    batch = None
    if wavs:
        size = padded_size(int(lengths.max()), sizes)
        wavs[0] = nn.functional.pad(wavs[0], (0, size - len(wavs[0])))
        batch = Batch(pad_sequence(wavs, batch_first=True), lengths)
    problems = tuple(crop.problem for crop in crops if crop.problem)
    return LoadedBatch(batch, problems, tuple(crop.silent for crop in crops if crop.silent))

"""The class of catalyst that s3prl's keyword spotting uses: any sampler, divided among processes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sized
from typing import Any, cast

import torch
from torch.utils.data import Dataset, DistributedSampler, Sampler


class DistributedSamplerWrapper(DistributedSampler):
    """Gives each process its part of the indices of another sampler, which draws from torch's default generator.

    Every process draws the whole sequence and keeps each `num_replicas`-th item. All must draw the same sequence, so
    torch's generator is seeded with the process's seed (equal in all processes of s3prl) and the epoch, and restored
    afterwards. The sequence is filled up from its start until all parts are equally long. Number and rank of processes
    are those of the process group by default. `shuffle` is catalyst's; the order is the wrapped sampler's own.
    """

    def __init__(
        self, sampler: Sampler[Any], num_replicas: int | None = None, rank: int | None = None, shuffle: bool = True
    ) -> None:
        # A DistributedSampler, because the host's Runner calls `set_epoch` only on those.
        indices = cast(Dataset[int], range(len(cast(Sized, sampler))))
        super().__init__(indices, num_replicas=num_replicas, rank=rank, shuffle=shuffle)
        self.sampler = sampler

    def __iter__(self) -> Iterator[Any]:
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(torch.initial_seed() + self.epoch)
            drawn = list(self.sampler)
        wanted = len(self) * self.num_replicas
        while drawn and len(drawn) < wanted:
            drawn += drawn[: wanted - len(drawn)]
        return iter(drawn[self.rank :: self.num_replicas])

    def __len__(self) -> int:
        return math.ceil(len(cast(Sized, self.sampler)) / self.num_replicas)

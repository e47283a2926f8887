"""The ranks of a run: processes that train one student together, each on its share of every global batch.

torchrun starts the ranks, and `host.process_group` joins them. In a run of one process, every function here returns its
input, and nothing is sent.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn.functional import pad

T = TypeVar("T")


def world() -> int:
    """The number of ranks that train together; 1 for a run of one process."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """The number of this process, from 0; rank 0 writes the files and the messages of the run."""
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


def share(items: Sequence[T]) -> Sequence[T]:
    """Every item that belongs to this rank: those whose index leaves the rank's number modulo the number of ranks.

    A batch is sorted by length, so that the shares hold as much speech as one another. A share may be empty.
    """
    return items[rank() :: world()] if world() > 1 else items


def total(values: Tensor) -> Tensor:
    """The sum of `values` over all ranks, equal on every rank.

    The loss of a global batch is a function of such sums. `DistributedDataParallel` takes the mean of the ranks'
    gradients, so that the gradient is multiplied by the number of ranks on its way back.
    """
    return _Total.apply(values) if world() > 1 else values


def largest(number: int) -> int:
    """The largest of the ranks' numbers."""
    if world() == 1:
        return number
    value = torch.tensor(number)
    dist.all_reduce(value, op=dist.ReduceOp.MAX)
    return int(value)


def gather(value: T) -> list[T]:
    """The values of all ranks, in the order of the ranks."""
    if world() == 1:
        return [value]
    values: list[Any] = [None] * world()
    dist.all_gather_object(values, value)
    return values


def seed_of(*numbers: int) -> int:
    """A seed that follows from `numbers` alone, below 2**63."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> np.uint64(1))


def draw(low: int, high: int, *numbers: int) -> int:
    """A whole number from `low` to `high` that follows from `numbers` alone, so that all ranks draw the same."""
    return low + int(np.random.default_rng(numbers).random() * (high - low + 1))


def part(wavs: Tensor | None, lengths: Tensor | None, samples: int) -> tuple[Tensor, Tensor]:
    """The share of a global batch, padded like the whole batch.

    A student whose frames depend on the padding then gives the frames that it gives in one process.

    Args:
        wavs: (B', S') waveforms of the share; None for an empty share.
        lengths: (B',) samples of each waveform.
        samples: S, the length of the longest waveform of the whole batch.

    Returns:
        wavs (B', S) and lengths (B',); B' is 0 for an empty share.
    """
    if wavs is None or lengths is None:
        return torch.zeros(0, samples), torch.zeros(0, dtype=torch.int64)
    return pad(wavs, (0, samples - wavs.shape[1])), lengths


class _Total(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        summed = values.detach().clone()
        dist.all_reduce(summed)
        return summed

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        # every rank computes the same loss from the sums, and so has the same gradient here
        return gradient * world()

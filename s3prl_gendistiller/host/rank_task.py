"""A training pass of all ranks over one global batch."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from s3prl_gendistiller.distill import ranks
from s3prl_gendistiller.distill.data import TrainLoader
from s3prl_gendistiller.distill.task import DistillTask
from s3prl_gendistiller.host import meeting

_DEPTH = 1  # tells the draws for a batch apart


class RankTask:
    """`DistillTask` in `DistributedDataParallel`, called like the task; the sums are those of the global batch.

    Args:
        loader: its position names the global batch.
        seed: the run's seed.
        varies: the batches may use different parameters, as with a random depth.
    """

    def __init__(self, task: DistillTask, loader: TrainLoader, seed: int, *, varies: bool) -> None:
        self.task = task
        self.loader = loader
        self.seed = seed
        self.varies = varies
        self._parallel: DistributedDataParallel | None = None

    def __call__(
        self,
        wavs: Tensor,
        lengths: Tensor,
        teacher_probability: float = 0.0,
        front_end_only: bool = False,
        **known: Tensor,
    ) -> Tensor:
        """Sums and counts of all terms over all ranks, (1, K, 2).

        Args:
            wavs: (B, S), this rank's share, which may be empty: all ranks take part in each call.
            lengths: (B,) samples, on the CPU.
            known: what is known of the share, as keywords of the task.
        """
        empty = len(wavs) == 0
        if empty:
            wavs, lengths = _stand_in(wavs)
        depth = ranks.draw(1, len(self.task.target_layers), self.seed, self.loader.batches_done, _DEPTH)
        batch = (wavs, lengths, teacher_probability, front_end_only, depth)
        if self._parallel is None:
            self._parallel = self._wrapped(*batch, **known)
        sums: Tensor = self._parallel(*batch, **known)
        if empty:
            sums = torch.where(torch.zeros_like(sums, dtype=torch.bool), sums, 0.0)
        return ranks.total(sums)

    def _wrapped(self, wavs: Tensor, *others: Any, **known: Tensor) -> DistributedDataParallel:
        """The task with equal weights on all ranks; made at the first step, when weights and device are final."""
        if (here := meeting.present()) is not None:
            here.agree("the first step")
            here.begun = True
        unused = self.varies or ranks.largest(self._leaves_unused(wavs, *others, **known)) > 0
        # no buffer changes in training, so none is sent in each step
        accepted = inspect.signature(DistributedDataParallel).parameters
        buffers = "forward_sync_buffers" if "forward_sync_buffers" in accepted else "broadcast_buffers"
        options: dict[str, Any] = {"find_unused_parameters": unused, buffers: False}
        # without `device_ids`, which would move the lengths to the GPU
        return DistributedDataParallel(self.task, **options)

    def _leaves_unused(self, wavs: Tensor, *others: Any, **known: Tensor) -> bool:
        """Whether a batch leaves a trained parameter unused, which `DistributedDataParallel` has to know beforehand."""
        trained = [parameter for parameter in self.task.parameters() if parameter.requires_grad]
        with torch.random.fork_rng(devices=[wavs.device] if wavs.is_cuda else []):
            sums = self.task(wavs, *others, **known)
            found = torch.autograd.grad(sums.sum(), trained, allow_unused=True)
        return any(gradient is None for gradient in found)


def _stand_in(wavs: Tensor) -> tuple[Tensor, Tensor]:
    """One waveform of quiet noise (1, S) for an empty share (0, S); its sums do not count."""
    noise = 0.1 * torch.randn(1, wavs.shape[1], generator=torch.Generator().manual_seed(0))
    return noise.to(wavs.device, non_blocking=True), torch.tensor([wavs.shape[1]])

"""What a student costs: parameters, multiply-adds and CPU time, counted on what s3prl runs and not on a formula."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from s3prl_gendistiller.distill.audio import SAMPLE_RATE
from s3prl_gendistiller.host.layers import load_upstream
from s3prl_gendistiller.superb.cost.counting import multiply_adds
from s3prl_gendistiller.superb.models import Student

SECONDS = 8
ROUNDS = 7


@dataclass(frozen=True)
class Cost:
    """Of one upstream as s3prl runs it, prediction heads that it keeps included.

    Attributes:
        parameters: weights.
        gmacs_per_s: billions of multiply-adds per second of audio, on an utterance of `SECONDS`.
        cpu_s_per_s: CPU seconds per second of audio; compare it only within one measurement.
    """

    parameters: int
    gmacs_per_s: float
    cpu_s_per_s: float


def measure(students: Sequence[Student]) -> dict[str, Cost]:
    """Costs by name."""
    experts = {student.name: _expert(student) for student in students}
    seconds = cpu_times({name: lambda wav, expert=expert: expert([wav]) for name, expert in experts.items()})
    return {name: Cost(*_size(expert), seconds[name]) for name, expert in experts.items()}


def size(student: Student) -> tuple[int, float]:
    """`Cost.parameters` and `Cost.gmacs_per_s` of one student, without the time that `measure` takes."""
    return _size(_expert(student))


@torch.no_grad()
def cpu_times(runs: Mapping[str, Callable[[Tensor], object]]) -> dict[str, float]:
    """CPU seconds per second of audio of what is done with an utterance (S,) of `SECONDS`.

    The median of `ROUNDS` turns, which all of them take in one process, so that all meet the same machine.
    """
    wav = _utterance()
    taken: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(ROUNDS):
        for name, run in runs.items():
            started = time.process_time()
            run(wav)
            taken[name].append((time.process_time() - started) / SECONDS)
    return {name: sorted(times)[ROUNDS // 2] for name, times in taken.items()}


def _size(expert: nn.Module) -> tuple[int, float]:
    parameters = sum(parameter.numel() for parameter in expert.parameters())
    return parameters, multiply_adds(expert, [_utterance()]) / SECONDS / 1e9


def _expert(student: Student) -> nn.Module:
    return load_upstream(student.upstream, student.checkpoint, student.steps)


def _utterance() -> Tensor:
    """Noise of `SECONDS` (S,), always the same."""
    return torch.randn(SECONDS * SAMPLE_RATE, generator=torch.Generator().manual_seed(0)) / 10

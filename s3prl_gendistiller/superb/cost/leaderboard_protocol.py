"""The SUPERB leaderboard's way to count multiply-adds: 32 utterances of LibriSpeech test-clean, one at a time, summed.

Source: the profiling tool of the SLT 2022 SUPERB challenge (B06901052/DeepSpeed, branch superb-challenge,
testing/s3prl_profiling_test.py), which lists files and lengths: every 82nd of test-clean's 2,620 utterances by length.
Only lengths matter, so noise takes the place of the speech.

That tool gives 1669 G for HuBERT Base, `multiply_adds` 1665.5. In the attention of each layer the tool also counts
mask, softmax, dropout, scaling and the biases of the input projections: 4 heads T^2 + 4 D T a layer. With these the
numbers agree in each bucket to all digits that the tool's documentation prints.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from s3prl_gendistiller.distill.audio import SAMPLE_RATE
from s3prl_gendistiller.superb.cost.multiply_adds import count

_TEST_CLEAN = """
    672-122797-0033 20560  4446-2275-0025 34560  7176-92135-0019 38480  2094-142345-0019 42560
    1221-135767-0015 45600  61-70970-0010 48720  8463-294825-0015 52000  1089-134686-0035 55120
    1995-1836-0012 59120  8555-284449-0006 62720  121-127105-0036 66400  237-126133-0012 71200
    7176-88083-0005 75200  3575-170457-0051 78640  7176-92135-0044 82800  5142-33396-0059 87520
    260-123286-0009 92720  2830-3980-0023 98560  2830-3980-0010 104400  4970-29095-0016 111120
    260-123286-0006 118480  2961-961-0016 125040  61-70968-0010 132720  8455-210777-0069 142640
    908-157963-0023 154000  4992-23283-0020 166720  4507-16021-0009 180880  1320-122617-0036 197920
    672-122797-0002 217920  8463-294828-0035 239280  2300-131720-0003 268160  3729-6852-0045 326000
"""
UTTERANCES = {name: int(samples) for name, samples in re.findall(r"(\S+) (\d+)", _TEST_CLEAN)}
"""Utterances of test-clean: samples at 16 kHz, shortest first."""
LENGTHS = tuple(UTTERANCES.values())
SECONDS = sum(LENGTHS) / SAMPLE_RATE  # 224.86
BUCKETS = ("short", "medium", "long", "longer")
_A_BUCKET = len(LENGTHS) // len(BUCKETS)


@dataclass(frozen=True)
class ProtocolCount:
    """Multiply-adds of a model over the 32 utterances.

    Attributes:
        each: multiply-adds of each utterance, in the order of `LENGTHS`.
        uncounted: names of operations, as in `multiply_adds.Count`.
    """

    each: tuple[int, ...]
    uncounted: frozenset[str] = frozenset()

    @property
    def total(self) -> int:
        """The number that the leaderboard shows."""
        return sum(self.each)

    @property
    def per_second(self) -> float:
        return self.total / SECONDS

    @property
    def buckets(self) -> tuple[int, ...]:
        """Sums over the eight shortest, the next eight, and so on."""
        return tuple(sum(part) for part in in_buckets(self.each))


def in_buckets(values: Sequence[int]) -> list[Sequence[int]]:
    """32 values in the order of `LENGTHS` as four times eight."""
    return [values[start : start + _A_BUCKET] for start in range(0, len(values), _A_BUCKET)]


def bucket_ranges() -> list[str]:
    """Each bucket's name with its shortest and longest utterance in seconds."""
    ends = [(min(part) / SAMPLE_RATE, max(part) / SAMPLE_RATE) for part in in_buckets(LENGTHS)]
    return [f"{name} {low:.2f}-{high:.2f} s" for name, (low, high) in zip(BUCKETS, ends, strict=True)]


def count_protocol(expert: nn.Module, counted: Callable[[], object] = lambda: None) -> ProtocolCount:
    """Counts an upstream in eval mode, which takes a list of waveforms (S,); calls `counted` after each utterance."""
    each: list[int] = []
    uncounted: set[str] = set()
    for samples in LENGTHS:
        noise = torch.randn(samples, generator=torch.Generator().manual_seed(samples)) / 10
        found = count(expert, [noise])
        each.append(found.multiply_adds)
        uncounted |= found.uncounted
        counted()
    return ProtocolCount(tuple(each), frozenset(uncounted))

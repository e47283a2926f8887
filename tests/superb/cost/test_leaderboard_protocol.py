"""The leaderboard's protocol, held against what its profiler's documentation prints for HuBERT Base."""

from __future__ import annotations

import pytest
import torch
import transformers
from torch import Tensor, nn

from s3prl_gendistiller.config import HUBERT_CONV_LAYERS
from s3prl_gendistiller.models.front_end import num_frames
from s3prl_gendistiller.superb.cost.leaderboard_protocol import (
    LENGTHS,
    SECONDS,
    bucket_ranges,
    count_protocol,
    in_buckets,
)

PRINTED = (149.26, 261.28, 422.37, 836.25)  # G, by bucket
LEADERBOARD = 1669e9


class Hubert(nn.Module):
    """HuBERT Base without weights: only shapes are asked for."""

    def __init__(self) -> None:
        super().__init__()
        with torch.device("meta"):
            self.model = transformers.HubertModel(transformers.HubertConfig()).eval()

    def forward(self, wavs: list[Tensor]) -> object:
        return self.model(torch.stack(wavs))


def test_the_utterances_are_those_of_the_profiler() -> None:
    assert len(LENGTHS) == 32 and list(LENGTHS) == sorted(LENGTHS)
    assert pytest.approx(224.86) == SECONDS
    assert bucket_ranges() == ["short 1.28-3.44 s", "medium 3.69-5.47 s", "long 5.79-8.91 s", "longer 9.62-20.38 s"]


def test_hubert_base_takes_what_the_leaderboard_says() -> None:
    found = count_protocol(Hubert())
    assert found.total == pytest.approx(LEADERBOARD, rel=0.005) and found.uncounted == frozenset()
    frames = num_frames(torch.tensor(LENGTHS), HUBERT_CONV_LAYERS).tolist()
    # what else the profiler counts in the attention of each of twelve layers
    rest = [12 * (4 * 12 * count * count + 4 * 768 * count) for count in frames]
    theirs = [(ours + sum(more)) / 1e9 for ours, more in zip(found.buckets, in_buckets(rest), strict=True)]
    assert theirs == pytest.approx(PRINTED, abs=0.005)


def test_each_utterance_is_counted_alone() -> None:
    seen: list[int] = []

    class Frames(nn.Linear):
        def forward(self, wavs: list[Tensor]) -> Tensor:
            return super().forward(wavs[0][: len(wavs[0]) // 80 * 80].view(-1, 80))

    found = count_protocol(Frames(80, 3).eval(), lambda: seen.append(1))
    assert found.each == tuple(length // 80 * 80 * 3 for length in LENGTHS) and len(seen) == 32
    assert sum(found.buckets) == found.total and found.per_second == pytest.approx(16_000 * 3, rel=0.001)

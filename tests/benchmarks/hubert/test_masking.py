from __future__ import annotations

import numpy as np
import pytest

from hubert.masking import span_mask


def test_the_share_is_what_overlapping_spans_leave() -> None:
    mask = span_mask(64, 300, 0.8, 10, np.random.default_rng(0))
    # 24 spans that start anywhere: 1 - (1 - 10/291)^24 = 0.57, less at the edges
    assert 0.5 < mask.mean() < 0.6
    assert len({row.tobytes() for row in mask}) == 64


def test_spans_are_whole() -> None:
    for row in span_mask(20, 100, 0.3, 7, np.random.default_rng(1)):
        edges = np.flatnonzero(np.diff(np.concatenate([[False], row, [False]]).astype(int)))
        assert ((edges[1::2] - edges[::2]) >= 7).all()


@pytest.mark.parametrize("frames", [2, 3, 5, 19, 20, 21])
def test_short_rows_keep_something_to_see_and_something_to_guess(frames: int) -> None:
    for seed in range(20):
        mask = span_mask(4, frames, 1.0, 10, np.random.default_rng(seed))
        assert mask.any(axis=1).all() and not mask.all(axis=1).any()


def test_the_same_chance_gives_the_same_mask() -> None:
    first, again = (span_mask(3, 50, 0.8, 10, np.random.default_rng(5)) for _ in range(2))
    assert (first == again).all()


def test_one_frame_cannot_be_masked() -> None:
    with pytest.raises(ValueError, match="at least 2"):
        span_mask(1, 1, 0.8, 10, np.random.default_rng(0))

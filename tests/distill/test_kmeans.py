from __future__ import annotations

import numpy as np
import pytest

from s3prl_gendistiller.distill.kmeans import fit_centroids, frames_to_cluster
from s3prl_gendistiller.errors import UserError

CENTRES = np.array([[0, 0], [10, 0], [0, 10]], np.float32)
FRAMES = (CENTRES.repeat(200, axis=0) + 0.1 * np.random.default_rng(0).standard_normal((600, 2))).astype(np.float32)


def test_it_finds_what_is_there_and_repeats_itself() -> None:
    first, again = (fit_centroids(FRAMES, 3, seed=1) for _ in range(2))
    assert (first == again).all() and first.dtype == np.float32
    np.testing.assert_allclose(first[np.argsort(first @ [1, 2])], CENTRES, atol=0.05)


def test_too_few_frames_are_named() -> None:
    with pytest.raises(UserError, match="2 frames for 3 clusters"):
        fit_centroids(FRAMES[:2], 3, seed=0)


def test_no_more_utterances_are_asked_for_than_are_needed() -> None:
    def states():
        yield FRAMES[:250]
        yield FRAMES[250:400]
        raise AssertionError

    assert (frames_to_cluster(states(), 300, progress=False) == FRAMES[:300]).all()
    assert len(frames_to_cluster(iter([FRAMES]), 1000, progress=False)) == 600

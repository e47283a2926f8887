from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hubert.codebook import Codebook
from s3prl_gendistiller.errors import UserError

RNG = np.random.default_rng(0)
CENTRES = np.array([[0, 0], [10, 0], [0, 10]], np.float32)
FRAMES = (CENTRES.repeat(200, axis=0) + 0.1 * RNG.standard_normal((600, 2))).astype(np.float32)


def test_frames_of_one_cluster_get_one_unit() -> None:
    units = Codebook(CENTRES, "mfcc").assign(FRAMES).reshape(3, 200)
    assert (units == [[0], [1], [2]]).all()


def test_the_nearest_centroid_is_assigned() -> None:
    codebook = Codebook(RNG.standard_normal((17, 5)).astype(np.float32), "mfcc")
    frames = RNG.standard_normal((300, 5)).astype(np.float32)
    distance = ((frames[:, None] - codebook.centroids) ** 2).sum(axis=2)
    assert (codebook.assign(frames) == distance.argmin(axis=1)).all()
    assert codebook.assign(frames[:0]).shape == (0,)


def test_a_file_keeps_it_with_its_source(tmp_path: Path) -> None:
    codebook = Codebook(CENTRES, "layer 4")
    codebook.save(tmp_path / "codebook.safetensors")
    loaded = Codebook.load(tmp_path / "codebook.safetensors")
    assert (loaded.centroids == CENTRES).all() and loaded.source == "layer 4"


def test_a_broken_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "bad.safetensors").write_bytes(b"nothing")
    with pytest.raises(UserError, match="bad.safetensors: not readable as a codebook"):
        Codebook.load(tmp_path / "bad.safetensors")

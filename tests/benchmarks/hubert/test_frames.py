from __future__ import annotations

import numpy as np

from hubert.frames import frames_of, samples_of


def test_a_number_of_frames_has_its_smallest_number_of_samples() -> None:
    for frames in (1, 2, 49, 400):
        assert frames_of(samples_of(frames)) == frames and frames_of(samples_of(frames) - 1) == frames - 1
    assert list(frames_of(np.array([400, 719, 720]))) == [1, 1, 2]

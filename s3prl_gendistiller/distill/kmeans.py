"""k-means over frames of speech."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from tqdm import tqdm

from s3prl_gendistiller.errors import UserError

_BATCH_FRAMES = 8192


def frames_to_cluster(states: Iterable[np.ndarray], wanted: int, progress: bool) -> np.ndarray:
    """The first `wanted` frames of utterances (T, D), or all frames if the utterances have no more."""
    found: list[np.ndarray] = []
    count = 0
    with tqdm(total=wanted, desc="frames to cluster", unit="frame", disable=not progress) as bar:
        for utterance in states:
            found.append(utterance[: wanted - count])
            count += len(found[-1])
            bar.update(len(found[-1]))
            if count >= wanted:
                break
    return np.concatenate(found)


def fit_centroids(frames: np.ndarray, clusters: int, seed: int) -> np.ndarray:
    """Centroids (V, D) float32 of frames (T, D) by k-means from k-means++, always the same for a seed.

    Raises:
        UserError: fewer frames than clusters, or scikit-learn is not installed.
    """
    if len(frames) < clusters:
        raise UserError(f"{len(frames)} frames for {clusters} clusters; expected more speech or fewer clusters")
    try:
        from sklearn.cluster import MiniBatchKMeans
    except ImportError as error:
        raise UserError('scikit-learn is not installed; pip install "s3prl-gendistiller[units]"') from error
    model = MiniBatchKMeans(
        clusters, random_state=seed, batch_size=_BATCH_FRAMES, max_iter=100, n_init=3, reassignment_ratio=0.0
    )
    return np.ascontiguousarray(model.fit(frames).cluster_centers_, dtype=np.float32)

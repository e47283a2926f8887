"""k-means over frames: the units that are predicted."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.outputs import replacing

_FIT_BATCH = 8192
_ASSIGN_ROWS = 65_536


@dataclass(frozen=True)
class Codebook:
    """Centroids, and what they are centroids of.

    Attributes:
        centroids: (V, D) float32.
        source: "mfcc", or "layer 4" for a hidden state.
    """

    centroids: np.ndarray
    source: str

    def assign(self, frames: np.ndarray) -> np.ndarray:
        """The nearest centroid of each frame: (T, D) -> (T,) int64."""
        half = 0.5 * np.square(self.centroids).sum(axis=1)
        parts = [frames[i : i + _ASSIGN_ROWS] for i in range(0, len(frames), _ASSIGN_ROWS)]
        found = [np.argmax(part @ self.centroids.T - half, axis=1) for part in parts]
        return np.concatenate(found) if found else np.zeros(0, np.int64)

    def save(self, path: Path) -> None:
        import safetensors.numpy

        content = safetensors.numpy.save({"centroids": self.centroids}, metadata={"source": self.source})
        with replacing(path) as part:
            part.write_bytes(content)

    @classmethod
    def load(cls, path: Path) -> Codebook:
        """
        Raises:
            UserError: no such file, or not a codebook.
        """
        import safetensors

        try:
            with safetensors.safe_open(path, "numpy") as file:
                found = cls(file.get_tensor("centroids"), (file.metadata() or {}).get("source", "unknown"))
        except (OSError, safetensors.SafetensorError) as error:
            raise UserError(f"{path}: not readable as a codebook ({error}); write it again") from error
        centroids = found.centroids
        if centroids.ndim != 2 or centroids.dtype != np.float32 or not np.isfinite(centroids).all():
            raise UserError(
                f"{path}: found centroids of {centroids.dtype} and shape {centroids.shape}, expected a matrix of "
                "finite float32; write it again"
            )
        return found


def frames_to_cluster(states: Iterable[np.ndarray], wanted: int, progress: bool) -> np.ndarray:
    """The first `wanted` frames of utterances (T, D), or all of them if they have no more."""
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


def fit_codebook(frames: np.ndarray, clusters: int, source: str, seed: int) -> Codebook:
    """k-means from k-means++, always the same for a seed.

    Args:
        frames: (T, D) float32.

    Raises:
        UserError: fewer frames than clusters; scikit-learn is not installed.
    """
    if len(frames) < clusters:
        raise UserError(f"{len(frames)} frames for {clusters} clusters; expected more speech or fewer clusters")
    try:
        from sklearn.cluster import MiniBatchKMeans
    except ImportError as error:
        raise UserError('scikit-learn is not installed; pip install "s3prl-gendistiller[units]"') from error
    settings: dict[str, Any] = {"batch_size": _FIT_BATCH, "max_iter": 100, "n_init": 3, "reassignment_ratio": 0.0}
    fitted = MiniBatchKMeans(clusters, random_state=seed, **settings).fit(frames)
    return Codebook(np.ascontiguousarray(fitted.cluster_centers_, dtype=np.float32), source)

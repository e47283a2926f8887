"""Codebooks: the k-means centroids whose numbers are the units that a HuBERT predicts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.outputs import replacing

CODEBOOK = "codebook.safetensors"
_ASSIGN_ROWS = 65_536


@dataclass(frozen=True)
class Codebook:
    """Centroids and the features that they cluster.

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
            UserError: the file is missing or holds no codebook.
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

"""The runs behind one row of a table: how many, of how many distillations and seeds of heads, and which are equal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from s3prl_gendistiller.superb.models import BenchmarkedModel, equal_models


@dataclass(frozen=True)
class Replicas:
    """The models of one student that count: those that repeat no other one.

    Attributes:
        repeated: models that repeat an earlier one (the same weights, the same seed of heads), each with it.
    """

    models: Sequence[BenchmarkedModel]
    repeated: Sequence[tuple[BenchmarkedModel, BenchmarkedModel]]

    @property
    def distillations(self) -> int:
        return len({model.distillation for model in self.models})

    @property
    def heads(self) -> int:
        """Number of different seeds of heads."""
        return len({model.head_seed for model in self.models})

    def describe(self) -> str:
        """The number of runs and their origin: ``6: 2 distillations x 3 heads``, or ``1``."""
        parts = []
        if self.distillations > 1:
            parts.append(f"{self.distillations} distillations")
        if self.heads > 1:
            parts.append(f"{self.heads} heads")
        if len(parts) == 2:
            joint = " x " if self.distillations * self.heads == len(self.models) else ", "
            return f"{len(self.models)}: {joint.join(parts)}"
        return parts[0] if parts else "1"


def replicas(models: Sequence[BenchmarkedModel]) -> Replicas:
    """Of the models of one group."""
    repeated = equal_models(models)
    left_out = {model.name for model, _ in repeated}
    return Replicas([model for model in models if model.name not in left_out], repeated)

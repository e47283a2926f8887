"""Projections, which map a student's layers to the width of its teacher.

FitNets (arXiv 1412.6550) and TinyBERT (arXiv 1909.10351) compare layers of two widths behind such linear maps. The maps
are trained with the student, belong to the objective, and are no part of the student.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Projection(nn.Module):
    """A linear map with bias for each layer, or one map for all layers.

    Args:
        names: names of the maps, in the order of the layers; a single name stands for all layers.
        width: D_s, the student's width.
        teacher_width: D_t.
    """

    def __init__(self, names: Sequence[str], width: int, teacher_width: int) -> None:
        super().__init__()
        self.maps = nn.ModuleDict({name: nn.Linear(width, teacher_width) for name in names})

    def forward(self, layers: Tensor) -> Tensor:
        """(B, k, T, D_s) to (B, k, T, D_t), where k is at most the number of layers."""
        maps = list(self.maps.values())
        if len(maps) == 1:
            projected: Tensor = maps[0](layers)
            return projected
        first = maps[: layers.shape[1]]
        return torch.stack([map_(layer) for map_, layer in zip(first, layers.unbind(1), strict=True)], dim=1)


def build_projection(names: Sequence[str], width: int | None, teacher_width: int | None) -> Projection | None:
    """The projection between two widths; None where they are equal, and no random number is drawn then."""
    if width is None or teacher_width is None or width == teacher_width:
        return None
    return Projection(names, width, teacher_width)


def count_parameters(names: Sequence[str], width: int, teacher_width: int) -> int:
    """Number of parameters of a projection."""
    with torch.device("meta"):
        made = build_projection(names, width, teacher_width)
    return 0 if made is None else sum(parameter.numel() for parameter in made.parameters())

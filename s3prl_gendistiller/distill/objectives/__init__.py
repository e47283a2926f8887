"""What the student is asked to match, one file each.

An objective is a module called as ``objective(teacher, student, frame_mask) -> {term: (sum, count)}`` with teacher
(B, L, T, D_t), student (B, L, T, D_s) and frame_mask (B, T). Its `terms` name what it returns and with which weight
each mean enters the loss; weight 0 is for terms that are only reported. Sums and counts are divided once, by the
task, so that unequal batches and processes weigh right.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from s3prl_gendistiller.config_objectives import CkdConfig, ObjectiveConfig
from s3prl_gendistiller.distill.objectives.ckd import Ckd
from s3prl_gendistiller.distill.objectives.layerwise import Layerwise


def build_objectives(configs: Sequence[ObjectiveConfig], target_layers: Sequence[int]) -> nn.ModuleList:
    """The objectives of a configuration, in its order."""
    return nn.ModuleList(_build(config, target_layers) for config in configs)


def _build(config: ObjectiveConfig, target_layers: Sequence[int]) -> nn.Module:
    if isinstance(config, CkdConfig):
        return Ckd(config)
    return Layerwise(target_layers, weight=config.weight, cosine_weight=config.cosine_weight)

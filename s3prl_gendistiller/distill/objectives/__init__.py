"""What the student is asked to match, one file each.

An objective is a module called as ``objective(teacher, student, frame_mask) -> {term: (sum, count)}`` with teacher
(B, L, T, D_t), student (B, L, T, D_s) and frame_mask (B, T). Its `terms` name what it returns and with which weight
each mean enters the loss; weight 0 is for terms that are only reported. One with a `source_layer` is handed that layer
of the teacher, (B, 1, T, D_t), in place of the target layers. Sums and counts are divided once, by the task, so that
unequal batches and processes weigh right.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from s3prl_gendistiller.config_objectives import CkdConfig, GlmdConfig, ObjectiveConfig
from s3prl_gendistiller.distill.objectives.ckd import Ckd
from s3prl_gendistiller.distill.objectives.glmd import Glmd
from s3prl_gendistiller.distill.objectives.layerwise import Layerwise
from s3prl_gendistiller.distill.teacher import Teacher
from s3prl_gendistiller.distill.units import Units


def build_objectives(
    configs: Sequence[ObjectiveConfig],
    target_layers: Sequence[int],
    *,
    width: int | None = None,
    teacher: Teacher | None = None,
) -> nn.ModuleList:
    """The objectives of a configuration, in its order.

    Args:
        width: of the student; `glmd` needs it.
        teacher: checked against the units of `glmd`.

    Raises:
        UserError: units that cannot be read, are another teacher's, or do not fit the student.
    """
    return nn.ModuleList(_build(config, target_layers, width, teacher) for config in configs)


def _build(
    config: ObjectiveConfig, target_layers: Sequence[int], width: int | None, teacher: Teacher | None
) -> nn.Module:
    if isinstance(config, CkdConfig):
        return Ckd(config)
    if isinstance(config, GlmdConfig):
        assert config.units is not None and width is not None
        units = Units.load(config.units)
        if teacher is not None:
            units.check_teacher(teacher.name, teacher.fingerprint(), teacher.width, teacher.num_layers)
        return Glmd(config, units, width, len(target_layers))
    return Layerwise(target_layers, weight=config.weight, cosine_weight=config.cosine_weight)

"""Units on every predicted layer: the cluster of the teacher's frame is the class of the student's frame.

    L = weight * mean over layers of cross entropy of softmax(cosine logits of a head of the layer's own)

The student's input is not masked, and all real frames count. The clusters of a layer come from `gendistiller units`. A
unit that its file does not keep counts as the nearest kept one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from s3prl_gendistiller.config_objectives import LayerUnitsConfig
from s3prl_gendistiller.distill.objectives import Setting
from s3prl_gendistiller.distill.teacher import Teacher
from s3prl_gendistiller.distill.units import LAYER_FILE, UNIT_DIM, UnitHead, Units
from s3prl_gendistiller.errors import UserError


def build(config: LayerUnitsConfig, setting: Setting) -> nn.Module:
    """Raises a UserError that lists all files that are missing, not readable, or of another teacher or layer."""
    assert config.units is not None and setting.width is not None
    files = {Path(config.units) / LAYER_FILE.format(layer): layer for layer in setting.target_layers}
    return LayerUnits(config, _load(files, setting.teacher), setting.width)


def check_files(config: LayerUnitsConfig) -> None:
    """Reads the units alone; `build` compares them with the target layers and with the teacher."""
    assert config.units is not None
    files = sorted(Path(config.units).glob(LAYER_FILE.format("*")))
    if not files:
        raise UserError(
            f"objectives: layer_units: units: found no {LAYER_FILE.format('N')} in {config.units}, expected a folder "
            "with one such file for each target layer N; make it with `gendistiller units --layer N ...`"
        )
    _load(dict.fromkeys(files), None)


class LayerUnits(nn.Module):
    """Unit prediction on each layer; the heads are trained with the student and are no part of it.

    Args:
        units: the teacher's units of each target layer, from `gendistiller units`.
        width: D_s.
    """

    def __init__(self, config: LayerUnitsConfig, units: Sequence[Units], width: int) -> None:
        super().__init__()
        self.layers = [each.layer for each in units]
        share = config.weight / len(units)
        self.terms = {f"units_layer{layer}": share for layer in self.layers}
        self.terms |= {f"units_agreement_layer{layer}": 0.0 for layer in self.layers}
        self.teacher_units = nn.ModuleList(each.predict for each in units)  # frozen
        self.heads = nn.ModuleList(UnitHead(width, len(each.kept), UNIT_DIM) for each in units)
        for layer, each in zip(self.layers, units, strict=True):  # stored, so that a resumed run has the same units
            self.register_buffer(f"nearest_layer{layer}", each.nearest)

    def forward(self, teacher: Tensor, student: Tensor, frame_mask: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
        """Sums and counts of the terms of each layer.

        Args:
            teacher: (B, k, T, D_t), the first k of the L target layers.
            student: (B, k, T, D_s).
            frame_mask: (B, T), True = real frame.

        Returns:
            for each of the k layers, the sum of the cross entropy, and the number of frames in which the student's most
            likely unit is the teacher's (reported only), each with the number of real frames.
        """
        padded, count = ~frame_mask.unsqueeze(-1), frame_mask.sum()
        terms: dict[str, tuple[Tensor, Tensor]] = {}
        for index, layer in enumerate(self.layers[: student.shape[1]]):
            with torch.no_grad():
                first = self.teacher_units[index](teacher[:, index].masked_fill(padded, 0.0)).argmax(-1)  # (B, T)
                target = self.get_buffer(f"nearest_layer{layer}")[first]
            logits = self.heads[index](student[:, index].masked_fill(padded, 0.0))  # (B, T, V)
            entropy = functional.cross_entropy(logits.transpose(1, 2), target, reduction="none")  # (B, T)
            agree = (logits.detach().argmax(-1) == target) & frame_mask
            terms[f"units_layer{layer}"] = entropy.masked_fill(~frame_mask, 0.0).sum(), count
            terms[f"units_agreement_layer{layer}"] = agree.sum(), count
        return terms


def _load(files: Mapping[Path, int | None], teacher: Teacher | None) -> list[Units]:
    """The units of files, each with the layer that is expected in it, if that is known."""
    problems, found = [], []
    for path, layer in files.items():
        try:
            units = Units.load(path)
            if layer not in (None, units.layer):
                raise UserError(f"{path}: found units of layer {units.layer}, expected those of layer {layer}")
            if teacher is not None:
                units.check_teacher(teacher.name, teacher.fingerprint(), teacher.width, teacher.num_layers)
            found.append(units)
        except UserError as error:
            problems.append(str(error))
    if problems:
        raise UserError("\n".join(problems))
    return found

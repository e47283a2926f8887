"""GLMD, stage 1 (arXiv 2306.06625): the student predicts the teacher's units, without hidden layers and labels.

    L = T^2 mean over real frames of KL(p || softmax(z^s / T))       z^s: the student's own head on its last layer

    remap      p from the teacher's logits z^t over V units, V' of which are kept
    restrict   softmax of z^t / T over the kept units; the mass of dropped units is discarded (the released code)
    tied       softmax(z^t / T) over all V units; a dropped unit has the student's logit of its replacement
    fold       softmax(z^t / T), with the mass of a dropped unit added to the mass of its replacement

The released code also counts padded frames; here real frames alone count.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from s3prl_gendistiller.config_objectives import GlmdConfig
from s3prl_gendistiller.distill.objectives import Setting
from s3prl_gendistiller.distill.units import UNIT_DIM, UnitHead, Units
from s3prl_gendistiller.errors import UserError


def build(config: GlmdConfig, setting: Setting) -> nn.Module:
    """Raises a UserError if the units cannot be read, belong to another teacher, or do not fit the student."""
    assert config.units is not None and setting.width is not None
    units, teacher = Units.load(config.units), setting.teacher
    if teacher is not None:
        units.check_teacher(teacher.name, teacher.fingerprint(), teacher.width, teacher.num_layers)
    return Glmd(config, units, setting.width, len(setting.target_layers))


def check_files(config: GlmdConfig) -> None:
    """Reads the units alone; `build` compares them with the teacher, because this needs the teacher's weights."""
    assert config.units is not None
    Units.load(config.units)


class Glmd(nn.Module):
    """Unit prediction; the student's head is trained with the student and is no part of it.

    Args:
        units: the teacher's units, from `gendistiller units`.
        width: D_s.
        num_layers: number of layers that the student predicts; the head reads the last one.

    Raises:
        UserError: the head cannot start with the weights of the teacher's head.
    """

    kept: Tensor
    nearest: Tensor

    def __init__(self, config: GlmdConfig, units: Units, width: int, num_layers: int) -> None:
        super().__init__()
        self.config = config
        self.num_layers = num_layers
        self.source_layer = units.layer
        self.terms = {"glmd_units": config.weight, "glmd_agreement": 0.0}
        self.teacher_head = units.predict  # frozen; a submodule, so that it moves to other devices with this one
        head = units.predict if isinstance(units.predict, UnitHead) else None
        dim = UNIT_DIM if head is None else head.final_proj.out_features
        self.head = UnitHead(width, len(units.kept), dim)
        if config.head_init == "teacher":
            self._start_from(head, units.kept)
        self.register_buffer("kept", units.kept)  # stored in checkpoints, so that a resumed run has the same units
        self.register_buffer("nearest", units.nearest)

    def forward(self, teacher: Tensor, student: Tensor, frame_mask: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
        """Sums and counts of the divergence and of the agreement.

        Args:
            teacher: (B, 1, T, D_t), the layer from which the units are predicted.
            student: (B, k, T, D_s); nothing is compared where k is less than the student's number of layers.
            frame_mask: (B, T), True = real frame.

        Returns:
            the sum of T^2 KL, and the number of frames in which the most likely unit of the student is that of the
            teacher (reported only), each with the number of frames.
        """
        if student.shape[1] < self.num_layers:
            return {}
        real = frame_mask.unsqueeze(-1)
        with torch.no_grad():
            of_teacher = self.teacher_head(teacher[:, 0].masked_fill(~real, 0.0))  # (B, T, V)
        of_student = self.head(student[:, -1].masked_fill(~real, 0.0))  # (B, T, V')
        temperature = self.config.temperature
        target = self._target(of_teacher, temperature)
        compared = of_student[..., self.nearest] if self.config.remap == "tied" else of_student
        log_student = torch.log_softmax(compared / temperature, dim=-1)
        divergence = (torch.xlogy(target, target) - target * log_student).sum(-1)  # (B, T)
        first = target.argmax(-1)
        agree = (self.nearest[first] if self.config.remap == "tied" else first) == of_student.argmax(-1)
        count = frame_mask.sum()
        return {
            "glmd_units": (temperature**2 * divergence.masked_fill(~frame_mask, 0.0).sum(), count),
            "glmd_agreement": ((agree & frame_mask).sum(), count),
        }

    def _target(self, logits: Tensor, temperature: float) -> Tensor:
        if self.config.remap == "restrict":
            return torch.softmax(logits[..., self.kept] / temperature, dim=-1)
        whole = torch.softmax(logits / temperature, dim=-1)
        if self.config.remap == "tied":
            return whole
        folded = whole.new_zeros(*whole.shape[:-1], len(self.kept))
        return folded.index_add_(-1, self.nearest, whole)

    def _start_from(self, head: UnitHead | None, kept: Tensor) -> None:
        if head is None or head.width != self.head.width:
            found = "k-means units, which have no head" if head is None else f"a head of {head.width}"
            raise UserError(
                f"objectives: glmd: head_init: found teacher with {found}, expected one of the student's width "
                f"{self.head.width}; take head_init: random"
            )
        with torch.no_grad():
            self.head.final_proj.load_state_dict(head.final_proj.state_dict())
            self.head.label_embs_concat.copy_(head.label_embs_concat[kept])
            self.head.number = head.number

"""DistilHuBERT's objective: L1 and log-sigmoid cosine, layer by layer (arXiv 2110.01900, equation 1).

Unlike in s3prl's distiller, padded frames do not count. Layers are compared in the teacher's width: those of a student
of another width pass a projection, which is trained with the student.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn.functional import cosine_similarity, logsigmoid

from s3prl_gendistiller.config_objectives import FRONT_END_LAYERS, LayerwiseConfig
from s3prl_gendistiller.distill.objectives import Setting
from s3prl_gendistiller.distill.projection import Projection, build_projection


def build(config: LayerwiseConfig, setting: Setting) -> Layerwise:
    maps = build_projection(config.projections(setting.target_layers), setting.width, setting.teacher_width)
    return Layerwise(setting.target_layers, weight=config.weight, cosine_weight=config.cosine_weight, projection=maps)


def build_front_end(setting: Setting) -> Layerwise:
    """The objective of the steps that train the front end alone, with a projection of its own between two widths."""
    names = LayerwiseConfig().projections(FRONT_END_LAYERS)
    return Layerwise(FRONT_END_LAYERS, projection=build_projection(names, setting.width, setting.teacher_width))


class Layerwise(nn.Module):
    """``weight * mean over layers of (L1 + cosine_weight * (-log sigmoid cos))``.

    Args:
        target_layers: numbers of the L teacher layers, used in the names of the terms.
        weight, cosine_weight: the weight of the whole objective, and lambda of the paper.
        projection: maps the student's layers to the teacher's width; None for students of that width.
    """

    def __init__(
        self,
        target_layers: Sequence[int],
        *,
        weight: float = 1.0,
        cosine_weight: float = 1.0,
        projection: Projection | None = None,
    ) -> None:
        super().__init__()
        self.target_layers = tuple(target_layers)
        self.projection = projection
        share = weight / len(self.target_layers)
        self.terms: dict[str, float] = {}
        for layer in self.target_layers:
            self.terms[f"l1_layer{layer}"] = share
            self.terms[f"cosine_loss_layer{layer}"] = share * cosine_weight
            self.terms[f"cosine_layer{layer}"] = 0.0

    def forward(self, teacher: Tensor, student: Tensor, frame_mask: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
        """Sums and counts of the terms of each layer.

        Args:
            teacher: (B, k, T, D_t), the first k of the L layers.
            student: (B, k, T, D_s); without a projection, D_s is D_t.
            frame_mask: (B, T), True = real frame.

        Returns:
            for each of the k layers, the sums over real frames and the number of real frames.

        Raises:
            ValueError: the two stacks, the student's after its projection, differ in shape.
        """
        if self.projection is not None:
            # the padding, which may hold infinities, would reach the gradient of the projection's weights
            student = self.projection(student.masked_fill(~frame_mask[:, None, :, None], 0.0))
        if teacher.shape != student.shape:
            raise ValueError(f"teacher layers {tuple(teacher.shape)} and student layers {tuple(student.shape)} differ")
        real = frame_mask.unsqueeze(1)  # (B, 1, T)
        distance = (student - teacher).abs().mean(-1)  # (B, L, T)
        cosine = cosine_similarity(student, teacher, dim=-1)  # (B, L, T)
        count = frame_mask.sum()
        sums = {
            "l1": distance.masked_fill(~real, 0.0).sum((0, 2)),  # (L,)
            "cosine_loss": -logsigmoid(cosine).masked_fill(~real, 0.0).sum((0, 2)),
            "cosine": cosine.detach().masked_fill(~real, 0.0).sum((0, 2)),
        }
        return {
            f"{name}_layer{layer}": (values[index], count)
            for name, values in sums.items()
            for index, layer in enumerate(self.target_layers[: teacher.shape[1]])
        }

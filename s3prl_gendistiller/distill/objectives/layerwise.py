"""DistilHuBERT's objective: L1 and log-sigmoid cosine, layer by layer (arXiv 2110.01900, equation 1).

Unlike in s3prl's distiller, padded frames do not count.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn.functional import cosine_similarity, logsigmoid

from s3prl_gendistiller.config_objectives import LayerwiseConfig
from s3prl_gendistiller.distill.objectives import Setting


def build(config: LayerwiseConfig, setting: Setting) -> nn.Module:
    return Layerwise(setting.target_layers, weight=config.weight, cosine_weight=config.cosine_weight)


class Layerwise(nn.Module):
    """``weight * mean over layers of (L1 + cosine_weight * (-log sigmoid cos))``.

    Args:
        target_layers: numbers of the L teacher layers, used in the names of the terms.
        weight, cosine_weight: the weight of the whole objective, and lambda of the paper.
    """

    def __init__(self, target_layers: Sequence[int], *, weight: float = 1.0, cosine_weight: float = 1.0) -> None:
        super().__init__()
        self.target_layers = tuple(target_layers)
        share = weight / len(self.target_layers)
        self.terms: dict[str, float] = {}
        for layer in self.target_layers:
            self.terms[f"l1_layer{layer}"] = share
            self.terms[f"cosine_loss_layer{layer}"] = share * cosine_weight
            self.terms[f"cosine_layer{layer}"] = 0.0

    def forward(self, teacher: Tensor, student: Tensor, frame_mask: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
        """Sums and counts of the terms of each layer.

        Args:
            teacher, student: (B, k, T, D), the first k of the L layers.
            frame_mask: (B, T), True = real frame.

        Returns:
            for each of the k layers, the sums over real frames and the number of real frames.

        Raises:
            ValueError: the two stacks differ in shape.
        """
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

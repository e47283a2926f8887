"""A new objective as somebody would add it: configuration and network; `tests/test_new_parts.py` adds its row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from s3prl_gendistiller.config_objectives import ObjectiveConfig
from s3prl_gendistiller.distill.objectives import Setting
from s3prl_gendistiller.schema import key


@dataclass(frozen=True)
class ToyConfig(ObjectiveConfig):
    """Squared differences."""

    module: ClassVar[str] = "tests.toy_objective"
    compares_layers: ClassVar[bool] = True

    name: str = key("toy", choices=("toy",))
    power: float = key(2.0, above=0.0)


def build(config: ToyConfig, setting: Setting) -> nn.Module:
    return Toy(config)


class Toy(nn.Module):
    def __init__(self, config: ToyConfig) -> None:
        super().__init__()
        self.power = config.power
        self.terms = {"toy_difference": config.weight}

    def forward(self, teacher: Tensor, student: Tensor, frame_mask: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
        difference = (student - teacher).abs().pow(self.power).mean((1, 3))  # (B, T)
        return {"toy_difference": (difference[frame_mask].sum(), frame_mask.sum())}

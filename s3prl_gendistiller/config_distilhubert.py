"""The keys of a DistilHuBERT's model configuration, with type, default and range."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar

from s3prl_gendistiller.config import BackboneConfig, ModelConfig, WarmStartConfig
from s3prl_gendistiller.schema import key


@dataclass(frozen=True)
class DistilHubertConfig(BackboneConfig):
    """The baseline (arXiv 2110.01900), built as s3prl's own `DistillerModel`."""

    encoder_layers: int = key(2, low=1, high=100, about="number of transformer layers")
    encoder_layerdrop: float = key(0.0, low=0.0, high=1.0, about="probability that a training step leaves a layer out")
    out_layer_type: str = key(
        "expand-last",
        choices=("expand-last", "linear"),
        about="heads of the targets: two-layer ones (expand-last), or a linear one for each target (linear)",
    )
    feature_norm: bool = key(False, about="control: a LayerNorm between CNN and projection, as in HuBERT")


@dataclass(frozen=True)
class BaselineWarmStartConfig(WarmStartConfig):
    """As in s3prl's recipe: CNN and projection; positional convolution; the first layers."""

    layers_off: ClassVar[str] = "layers: false"

    layers: bool = key(True, about="copy the first encoder_layers layers")
    # the recipe leaves the norm random
    norms: bool = key(False, about="control: copy the LayerNorm after the positional convolution, too")

    def copied_layers(self, student: Any) -> tuple[int, ...]:
        return tuple(range(1, student.encoder_layers + 1)) if self.layers else ()

    def layer_problems(self, student: Any, num_layers: int) -> Iterator[str]:
        copied = len(self.copied_layers(student))
        if copied > num_layers:
            off = f"warm_start.{self.layers_off}"
            yield f"student.encoder_layers: found {copied}, expected at most {num_layers} (or {off})"

    def options(self, student: Any) -> dict[str, Any]:
        return {**super().options(student), "layers": len(self.copied_layers(student))}


@dataclass(frozen=True)
class DistilHubertModelConfig(ModelConfig):
    """A whole model YAML of the task `distilhubert`."""

    student: DistilHubertConfig = field(default_factory=DistilHubertConfig)
    warm_start: BaselineWarmStartConfig = field(default_factory=BaselineWarmStartConfig)

    def num_states(self, steps: int | None) -> int:
        return 1 + self.student.encoder_layers + len(self.distill.target_layers)

    def description(self) -> str:
        return (
            f"A DistilHuBERT (arXiv 2110.01900): {self.student.encoder_layers} transformer layers ({self.shape}) that "
            f"predict layers {self.target_names} of {self.teacher_name}."
        )

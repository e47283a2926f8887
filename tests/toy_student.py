"""A new kind of student as somebody would add it: configuration, network and row; `tests/test_new_parts.py` adds it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor, nn

from s3prl_gendistiller.config import BackboneConfig, ModelConfig
from s3prl_gendistiller.distill.warm_start import WarmStartReport
from s3prl_gendistiller.models.front_end import ConvFrontEnd
from s3prl_gendistiller.models.student import Student, StudentOutput
from s3prl_gendistiller.schema import key
from s3prl_gendistiller.student_kinds import StudentKind


@dataclass(frozen=True)
class ToyStudentConfig(BackboneConfig):
    gain: float = key(1.0, above=0.0)


@dataclass(frozen=True)
class ToyModelConfig(ModelConfig):
    student: ToyStudentConfig = field(default_factory=ToyStudentConfig)


def build(config: ToyModelConfig) -> Student:
    return ToyStudent(config.student, len(config.distill.target_layers))


def warm_start(
    student: nn.Module, state: Mapping[str, Tensor], naming: str, *, front_end: bool, position: bool
) -> WarmStartReport:
    """Copies nothing."""
    return WarmStartReport((), (), ())


class ToyStudent(Student):
    """HuBERT's CNN, and one small network for each layer."""

    def __init__(self, config: ToyStudentConfig, num_layers: int) -> None:
        super().__init__()
        self.gain = config.gain
        shapes, inner = config.extractor_conv_feature_layers, config.encoder_ffn_embed_dim
        self.front_end = ConvFrontEnd(shapes, mode=config.extractor_mode, dropout=0.0, grad_mult=1.0)
        self.layers = nn.ModuleList(
            nn.Sequential(nn.Linear(shapes[-1][0], inner), nn.GELU(), nn.Linear(inner, config.encoder_embed_dim))
            for _ in range(num_layers)
        )

    def forward(self, wavs: Tensor, lengths: Tensor, *, steps: int | None = None) -> StudentOutput:
        x, mask = self.front_end(wavs, lengths)  # (B, T, C)
        predictions = [self.gain * layer(x) for layer in self.layers]
        return StudentOutput([predictions[0], *predictions], mask, num_predicted=len(predictions))


TOY = StudentKind("toy", ToyModelConfig, f"{__name__}:build", f"{__name__}:warm_start", weights="ToyStudent")

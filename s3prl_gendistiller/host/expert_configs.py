"""`downstream_expert` of the SUPERB tasks with one class for each utterance: the keys that s3prl's experts read.

Where an expert evaluates a text (`select`, `module`, `metric`, ...), the choices are all names that it knows. A key
that an expert ignores is unknown here, unless a YAML of s3prl holds it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from s3prl_gendistiller.host.soft_labels import SoftLabelConfig
from s3prl_gendistiller.schema import key

_OF_TORCH = (
    "ReLU ReLU6 LeakyReLU PReLU RReLU ELU SELU CELU GELU SiLU Mish Hardswish Hardsigmoid Hardtanh Sigmoid LogSigmoid "
    "Tanh Tanhshrink Softplus Softsign Hardshrink Softshrink"
)
ACTIVATIONS = tuple(_OF_TORCH.split())
SPLITS = ("train", "dev", "test")


@dataclass(frozen=True)
class FrameLevelConfig:
    hiddens: tuple[int, ...] | None = None
    activation: str = key("ReLU", choices=ACTIVATIONS)


@dataclass(frozen=True)
class InnerConfig:
    """A network before or behind the pooling."""

    select: str = key(choices=("FrameLevel",))
    FrameLevel: FrameLevelConfig | None = None


@dataclass(frozen=True)
class UtteranceLevelConfig:
    pooling: str = key("MeanPooling", choices=("MeanPooling", "AttentivePooling"))
    activation: str = key("ReLU", choices=ACTIVATIONS)
    pre_net: InnerConfig | None = None
    post_net: InnerConfig = InnerConfig("FrameLevel")


@dataclass(frozen=True)
class DeepModelConfig:
    """Convolutions with attention over time; s3prl's YAML of emotion holds this section beside the selected one."""

    model_type: str = key(choices=("CNNSelfAttention", "FCN"))
    hidden_dim: int = key(low=1)
    kernel_size: int = key(low=1)
    padding: int = key(low=0)
    pooling: int = key(low=1)
    dropout: float = key(low=0.0, high=1.0)


@dataclass(frozen=True)
class PooledModelConfig:
    """`modelrc` of a task with one class for each utterance."""

    projector_dim: int = key(low=1)
    select: str = key(choices=("UtteranceLevel",))
    UtteranceLevel: UtteranceLevelConfig | None = None


@dataclass(frozen=True)
class EmotionModelConfig(PooledModelConfig):
    select: str = key(choices=("UtteranceLevel", "DeepModel"))
    DeepModel: DeepModelConfig | None = None

    def problems(self) -> Iterator[str]:
        if self.select == "DeepModel" and self.DeepModel is None:
            yield "DeepModel: missing; select names it"


@dataclass(frozen=True, kw_only=True)
class BatchesConfig:
    train_batch_size: int = key(low=1)
    eval_batch_size: int = key(low=1)
    num_workers: int = key(low=0)


@dataclass(frozen=True, kw_only=True)
class DistillableConfig:
    """`downstream_expert` of a task that has a second stage of GLMD."""

    glmd: SoftLabelConfig | None = None


@dataclass(frozen=True, kw_only=True)
class KeywordDataConfig:
    speech_commands_root: str
    speech_commands_test_root: str
    num_workers: int = key(low=0)
    batch_size: int = key(low=1)


@dataclass(frozen=True, kw_only=True)
class KeywordConfig(DistillableConfig):
    datarc: KeywordDataConfig
    modelrc: PooledModelConfig


@dataclass(frozen=True, kw_only=True)
class CommandDataConfig(BatchesConfig):
    file_path: str


@dataclass(frozen=True, kw_only=True)
class CommandConfig(DistillableConfig):
    datarc: CommandDataConfig
    modelrc: PooledModelConfig


@dataclass(frozen=True, kw_only=True)
class SpeakerDataConfig(BatchesConfig):
    file_path: str
    meta_data: str
    max_timestep: int | None = key(low=1)


@dataclass(frozen=True, kw_only=True)
class SpeakerConfig(DistillableConfig):
    datarc: SpeakerDataConfig
    modelrc: PooledModelConfig


@dataclass(frozen=True, kw_only=True)
class EmotionDataConfig(BatchesConfig):
    root: str
    meta_data: str
    pre_load: bool
    valid_ratio: float = key(above=0.0, below=1.0)
    test_fold: str | None = key(None, choices=tuple(f"fold{number}" for number in range(1, 6)))


@dataclass(frozen=True, kw_only=True)
class EmotionConfig(DistillableConfig):
    datarc: EmotionDataConfig
    modelrc: EmotionModelConfig

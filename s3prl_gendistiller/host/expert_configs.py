"""`downstream_expert` of the SUPERB tasks that classify or compare utterances: the keys that s3prl's experts read.

The tasks with one class for each utterance come first, then verification and query by example.

If an expert evaluates a text (`select`, `module`, `metric`, ...), the choices are all names that the expert
defines. A key that an expert ignores is unknown here, unless a YAML of s3prl holds the key.
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
# Metrics of scipy.spatial.distance.cdist that take two matrices of numbers and nothing else.
_OF_SCIPY = (
    "cosine correlation euclidean sqeuclidean seuclidean mahalanobis cityblock chebyshev canberra braycurtis minkowski "
    "jensenshannon hamming"
)
DISTANCES = ("cosine_exp", "cosine_neg_log", *_OF_SCIPY.split())
STEP_PATTERNS = (
    *("asymmetric", "symmetric1", "symmetric2"),
    *(f"{form}P{slope}" for form in ("asymmetric", "symmetric") for slope in ("0", "05", "1", "2")),
)


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


@dataclass(frozen=True)
class VoiceActivityConfig:
    min_sec: int = key(low=0)  # in samples, although the name ends in sec


@dataclass(frozen=True, kw_only=True)
class TrialDataConfig(BatchesConfig):
    vad_config: VoiceActivityConfig
    file_path: str
    train_meta_data: str
    dev_meta_data: str
    test_meta_data: str
    max_timestep: int | None = key(low=1)


@dataclass(frozen=True)
class XVectorConfig:
    agg_dim: int = key(low=1)
    dropout_p: float = key(low=0.0, high=1.0)
    batch_norm: bool = key()


@dataclass(frozen=True)
class NothingConfig:
    no_args: bool = True


@dataclass(frozen=True)
class ModulesConfig:
    XVector: XVectorConfig | None = None
    Identity: NothingConfig | None = None


@dataclass(frozen=True)
class MarginConfig:
    s: float = key(30.0, above=0.0)
    m: float = key(0.4, low=0.0)


@dataclass(frozen=True)
class AngularMarginConfig:
    s: float = key(15.0, above=0.0)
    m: float = key(0.3, low=0.0)
    easy_margin: bool = False


@dataclass(frozen=True)
class LossesConfig:
    SoftmaxLoss: NothingConfig | None = None
    AMSoftmaxLoss: MarginConfig | None = None
    AAMSoftmaxLoss: AngularMarginConfig | None = None


@dataclass(frozen=True)
class TrialModelConfig:
    module: str = key(choices=("XVector", "Identity"))
    input_dim: int = key(low=1)
    agg_module: str = key(choices=("SP", "MP", "AP", "ASP"))
    utter_module: str = key(choices=("UtteranceExtractor", "UtteranceIdentity"))
    module_config: ModulesConfig = key()
    ObjectiveLoss: str = key(choices=("AMSoftmaxLoss", "AAMSoftmaxLoss", "SoftmaxLoss"))
    LossConfig: LossesConfig = key()

    def problems(self) -> Iterator[str]:
        for chosen, section in ((self.module, "module_config"), (self.ObjectiveLoss, "LossConfig")):
            if getattr(getattr(self, section), chosen) is None:
                yield f"{section}.{chosen}: missing; {chosen} is chosen"


@dataclass(frozen=True)
class TrialConfig:
    datarc: TrialDataConfig
    modelrc: TrialModelConfig


@dataclass(frozen=True)
class QueryDataConfig:
    dataset_root: str
    num_workers: int = key(low=0)
    batch_size: int = key(low=1)


@dataclass(frozen=True)
class WarpingConfig:
    dist_method: str = key(choices=DISTANCES)
    minmax_norm: bool = key()
    step_pattern: str = key(choices=STEP_PATTERNS)
    subsequence: bool = key()

    def problems(self) -> Iterator[str]:
        if self.subsequence and self.step_pattern != "asymmetric":
            yield f"step_pattern: found {self.step_pattern} with subsequence, expected asymmetric"


@dataclass(frozen=True)
class QueryConfig:
    max_workers: int | None = key(low=1)
    feature_normalization: bool = key()
    silence_frame: int | None = key(low=0)
    datarc: QueryDataConfig = key()
    dtwrc: WarpingConfig = key()

    def problems(self) -> Iterator[str]:
        if self.feature_normalization and self.dtwrc.dist_method == "cosine_neg_log":
            yield "dtwrc.dist_method: found cosine_neg_log with feature_normalization, expected another, or false there"

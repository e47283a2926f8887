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
    hiddens: tuple[int, ...] | None = key(None, about="widths of further layers; null: one linear layer")
    activation: str = key("ReLU", choices=ACTIVATIONS, about="activation between the layers")


@dataclass(frozen=True)
class InnerConfig:
    """A network before or behind the pooling."""

    select: str = key(choices=("FrameLevel",), about="network")
    FrameLevel: FrameLevelConfig | None = key(None, about="settings of the network")


@dataclass(frozen=True)
class UtteranceLevelConfig:
    pooling: str = key(
        "MeanPooling",
        choices=("MeanPooling", "AttentivePooling"),
        about="how the frames of an utterance become one vector",
    )
    activation: str = key("ReLU", choices=ACTIVATIONS, about="activation of the network")
    pre_net: InnerConfig | None = key(None, about="network before the pooling, or null")
    post_net: InnerConfig = key(InnerConfig("FrameLevel"), about="network after the pooling")


@dataclass(frozen=True)
class DeepModelConfig:
    """Convolutions with attention over time; s3prl's YAML of emotion holds this section beside the selected one."""

    model_type: str = key(choices=("CNNSelfAttention", "FCN"), about="network over frames")
    hidden_dim: int = key(low=1, about="channels of the convolutions")
    kernel_size: int = key(low=1, about="length of the convolutions, in frames")
    padding: int = key(low=0, about="frames of zeros at each end")
    pooling: int = key(low=1, about="frames that the pooling joins")
    dropout: float = key(low=0.0, high=1.0, about="dropout")


@dataclass(frozen=True)
class PooledModelConfig:
    """`modelrc` of a task with one class for each utterance."""

    projector_dim: int = key(low=1, about="width of the linear layer between the upstream and the head")
    select: str = key(choices=("UtteranceLevel",), about="head")
    UtteranceLevel: UtteranceLevelConfig | None = key(None, about="settings of the head UtteranceLevel")


@dataclass(frozen=True)
class EmotionModelConfig(PooledModelConfig):
    select: str = key(choices=("UtteranceLevel", "DeepModel"))
    DeepModel: DeepModelConfig | None = key(None, about="settings of the head DeepModel")

    def problems(self) -> Iterator[str]:
        if self.select == "DeepModel" and self.DeepModel is None:
            yield "DeepModel: missing; select names it"


@dataclass(frozen=True, kw_only=True)
class BatchesConfig:
    train_batch_size: int = key(low=1, about="utterances in a training batch")
    eval_batch_size: int = key(low=1, about="utterances in a batch of dev or test")
    num_workers: int = key(low=0, about="processes that read audio; 0: no process beside the run")


@dataclass(frozen=True, kw_only=True)
class DistillableConfig:
    """`downstream_expert` of a task that has a second stage of GLMD."""

    glmd: SoftLabelConfig | None = key(None, about="second stage of GLMD, for the tasks glmd_*")


@dataclass(frozen=True, kw_only=True)
class KeywordDataConfig:
    speech_commands_root: str = key(about="folder of Speech Commands")
    speech_commands_test_root: str = key(about="folder of its test set")
    num_workers: int = key(low=0, about="processes that read audio; 0: no process beside the run")
    batch_size: int = key(low=1, about="utterances in a batch")


@dataclass(frozen=True, kw_only=True)
class KeywordConfig(DistillableConfig):
    datarc: KeywordDataConfig = key(about="the speech, and how it is cut into batches")
    modelrc: PooledModelConfig = key(about="the head")


@dataclass(frozen=True, kw_only=True)
class CommandDataConfig(BatchesConfig):
    file_path: str = key(about="folder of Fluent Speech Commands")


@dataclass(frozen=True, kw_only=True)
class CommandConfig(DistillableConfig):
    datarc: CommandDataConfig = key(about="the speech, and how it is cut into batches")
    modelrc: PooledModelConfig = key(about="the head")


@dataclass(frozen=True, kw_only=True)
class SpeakerDataConfig(BatchesConfig):
    file_path: str = key(about="folder of VoxCeleb1")
    meta_data: str = key(about="list of the utterances of each split")
    max_timestep: int | None = key(low=1, about="longest piece of a training utterance, in samples; null: whole")


@dataclass(frozen=True, kw_only=True)
class SpeakerConfig(DistillableConfig):
    datarc: SpeakerDataConfig = key(about="the speech, and how it is cut into batches")
    modelrc: PooledModelConfig = key(about="the head")


@dataclass(frozen=True, kw_only=True)
class EmotionDataConfig(BatchesConfig):
    root: str = key(about="folder of IEMOCAP")
    meta_data: str = key(about="folder of the lists of the folds")
    pre_load: bool = key(about="keep all audio in memory")
    valid_ratio: float = key(above=0.0, below=1.0, about="share of the training speech that becomes dev")
    test_fold: str | None = key(
        None, choices=tuple(f"fold{number}" for number in range(1, 6)), about="fold that is the test set"
    )


@dataclass(frozen=True, kw_only=True)
class EmotionConfig(DistillableConfig):
    datarc: EmotionDataConfig = key(about="the speech, and how it is cut into batches")
    modelrc: EmotionModelConfig = key(about="the head")


@dataclass(frozen=True)
class VoiceActivityConfig:
    min_sec: int = key(low=0, about="in samples: shorter training utterances are left out")


@dataclass(frozen=True, kw_only=True)
class TrialDataConfig(BatchesConfig):
    vad_config: VoiceActivityConfig = key(about="which utterances are too short")
    file_path: str = key(about="folder of VoxCeleb1")
    train_meta_data: str = key(about="list of the training speakers")
    dev_meta_data: str = key(about="list of the dev trials")
    test_meta_data: str = key(about="list of the test trials")
    max_timestep: int | None = key(low=1, about="longest piece of a training utterance, in samples; null: whole")


@dataclass(frozen=True)
class XVectorConfig:
    agg_dim: int = key(low=1, about="width before the pooling")
    dropout_p: float = key(low=0.0, high=1.0, about="dropout")
    batch_norm: bool = key(about="normalise each layer over the batch")


@dataclass(frozen=True)
class NothingConfig:
    no_args: bool = key(True, about="this choice has no settings")


@dataclass(frozen=True)
class ModulesConfig:
    XVector: XVectorConfig | None = key(None, about="settings of XVector")
    Identity: NothingConfig | None = key(None, about="settings of Identity")


@dataclass(frozen=True)
class MarginConfig:
    s: float = key(30.0, above=0.0, about="factor of the cosines")
    m: float = key(0.4, low=0.0, about="margin between speakers")


@dataclass(frozen=True)
class AngularMarginConfig:
    s: float = key(15.0, above=0.0, about="factor of the cosines")
    m: float = key(0.3, low=0.0, about="margin between speakers, as an angle")
    easy_margin: bool = key(False, about="margin at angles below 90 degrees alone")


@dataclass(frozen=True)
class LossesConfig:
    SoftmaxLoss: NothingConfig | None = key(None, about="settings of SoftmaxLoss")
    AMSoftmaxLoss: MarginConfig | None = key(None, about="settings of AMSoftmaxLoss")
    AAMSoftmaxLoss: AngularMarginConfig | None = key(None, about="settings of AAMSoftmaxLoss")


@dataclass(frozen=True)
class TrialModelConfig:
    module: str = key(choices=("XVector", "Identity"), about="network over frames")
    input_dim: int = key(low=1, about="width of the linear layer between the upstream and the head")
    agg_module: str = key(
        choices=("SP", "MP", "AP", "ASP"),
        about="pooling over time: mean and deviation (SP), mean (MP), or with attention (AP, ASP)",
    )
    utter_module: str = key(choices=("UtteranceExtractor", "UtteranceIdentity"), about="network after the pooling")
    module_config: ModulesConfig = key(about="settings of the network over frames")
    ObjectiveLoss: str = key(choices=("AMSoftmaxLoss", "AAMSoftmaxLoss", "SoftmaxLoss"), about="loss")
    LossConfig: LossesConfig = key(about="settings of the loss")

    def problems(self) -> Iterator[str]:
        for chosen, section in ((self.module, "module_config"), (self.ObjectiveLoss, "LossConfig")):
            if getattr(getattr(self, section), chosen) is None:
                yield f"{section}.{chosen}: missing; {chosen} is chosen"


@dataclass(frozen=True)
class TrialConfig:
    datarc: TrialDataConfig = key(about="the speech, and how it is cut into batches")
    modelrc: TrialModelConfig = key(about="the head")


@dataclass(frozen=True)
class QueryDataConfig:
    dataset_root: str = key(about="folder of QUESST 2014")
    num_workers: int = key(low=0, about="processes that read audio; 0: no process beside the run")
    batch_size: int = key(low=1, about="utterances in a batch")


@dataclass(frozen=True)
class WarpingConfig:
    dist_method: str = key(choices=DISTANCES, about="distance between two frames")
    minmax_norm: bool = key(about="scale the distances of a query to 0..1")
    step_pattern: str = key(choices=STEP_PATTERNS, about="steps that a path may take")
    subsequence: bool = key(about="a query may match a part of a recording")

    def problems(self) -> Iterator[str]:
        if self.subsequence and self.step_pattern != "asymmetric":
            yield f"step_pattern: found {self.step_pattern} with subsequence, expected asymmetric"


@dataclass(frozen=True)
class QueryConfig:
    max_workers: int | None = key(low=1, about="processes that compare; null: one for each core")
    feature_normalization: bool = key(about="zero mean and unit variance of each feature")
    silence_frame: int | None = key(
        low=0, about="a frame whose largest feature has this number is left out as silence; null: none"
    )
    datarc: QueryDataConfig = key(about="the speech")
    dtwrc: WarpingConfig = key(about="dynamic time warping")

    def problems(self) -> Iterator[str]:
        if self.feature_normalization and self.dtwrc.dist_method == "cosine_neg_log":
            yield "dtwrc.dist_method: found cosine_neg_log with feature_normalization, expected another, or false there"

"""`downstream_expert` of the SUPERB tasks that compare or separate: verification, query by example, diarization."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from s3prl_gendistiller.host.expert_configs import BatchesConfig
from s3prl_gendistiller.schema import key

# Of scipy.spatial.distance.cdist, those that take two matrices of numbers and nothing else.
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
class VoiceActivityConfig:
    min_sec: int = key(low=0)  # samples, whatever the name says


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


@dataclass(frozen=True)
class MixtureDataConfig:
    num_speakers: int = key(low=1)
    chunk_size: int = key(2000, low=1)
    subsampling: int = key(1, low=1)
    label_delay: int = key(0, low=0)
    rate: int = key(16_000, low=16_000, high=16_000)  # what every upstream takes
    frame_shift: int | None = key(None, low=1)
    use_last_samples: bool = True


@dataclass(frozen=True)
class LoaderConfig:
    num_workers: int = key(low=0)
    train_batchsize: int = key(low=1)
    eval_batchsize: int = key(low=1)
    train_dir: str = key()
    dev_dir: str = key()
    test_dir: str = key()


@dataclass(frozen=True)
class ScoreConfig:
    save_predictions: bool


@dataclass(frozen=True)
class SeparatorConfig:
    rnn_layers: int = key(low=0)
    hidden_size: int = key(low=1)


@dataclass(frozen=True)
class DiarizationConfig:
    datarc: MixtureDataConfig
    loaderrc: LoaderConfig
    scorerc: ScoreConfig
    modelrc: SeparatorConfig

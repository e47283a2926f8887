"""`downstream_expert` of the SUPERB tasks that predict a sequence: ASR, PR, SF, SD. See `expert_configs`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from s3prl_gendistiller.host.expert_configs import SPLITS, DistillableConfig, FrameLevelConfig
from s3prl_gendistiller.schema import Variants, key
from s3prl_gendistiller.schema_values import shown

ASR_SPLITS = ("train", "dev", "test", "dev-clean", "dev-other", "test-clean", "test-other")
UNKNOWN_WORD = 'float("-inf")'  # weight of a word outside the lexicon: a text that s3prl evaluates


@dataclass(frozen=True)
class RnnConfig:
    module: str = key(choices=("LSTM", "GRU"))
    bidirection: bool = key()
    dim: tuple[int, ...] = key()
    dropout: tuple[float, ...] = key()
    layer_norm: tuple[bool, ...] = key()
    proj: tuple[bool, ...] = key()
    sample_rate: tuple[int, ...] = key()
    sample_style: str = key(choices=("drop", "concat"))
    total_rate: int = key(320, low=-1)

    def problems(self) -> Iterator[str]:
        for name in ("dropout", "layer_norm", "proj", "sample_rate"):
            if len(getattr(self, name)) != len(self.dim):
                yield f"{name}: found {len(getattr(self, name))} entries, expected {len(self.dim)}, one a layer as dim"
        if not self.dim or min((*self.dim, *self.sample_rate)) < 1:
            yield "dim: found no layer, or a layer below 1, expected positive whole numbers in dim and sample_rate"
        if not all(0.0 <= share <= 1.0 for share in self.dropout):
            yield f"dropout: found {list(self.dropout)}, expected from 0 to 1"
        if self.total_rate == 0:
            yield "total_rate: found 0, expected samples a frame, or -1 for the upstream's own"


@dataclass(frozen=True)
class Wav2LetterConfig:
    total_rate: int = key(320, low=-1)


@dataclass(frozen=True)
class SequenceModelConfig:
    """`modelrc` of ASR, `model` of PR and SF."""

    project_dim: int = key(low=1)
    select: str = key(choices=("FrameLevel", "RNNs", "Wav2Letter"))
    RNNs: RnnConfig | None = None
    Wav2Letter: Wav2LetterConfig | None = None
    FrameLevel: FrameLevelConfig | None = None
    zero_infinity: bool | None = None

    def problems(self) -> Iterator[str]:
        if self.select == "RNNs" and self.RNNs is None:
            yield "RNNs: missing; select names it"


_NUMBER = re.compile(r"[-+]?\d+(\.\d*)?")


@dataclass(frozen=True)
class DecoderConfig:
    decoder_type: str | None = key("None", choices=("None", "kenlm"))
    nbest: int = key(1, low=1)
    criterion: str = key("ctc", choices=("ctc",))
    beam: int = key(5, low=1)
    beam_threshold: float = key(25.0, above=0.0)
    kenlm_model: str = ""
    lexicon: str = ""
    lm_weight: float = 2.0
    word_score: float = -1.0
    unk_weight: Any = UNKNOWN_WORD
    sil_weight: float = 0.0
    unit_lm: bool = False

    def problems(self) -> Iterator[str]:
        known = isinstance(self.unk_weight, int | float) or self.unk_weight in (UNKNOWN_WORD, "-math.inf")
        if not known and not (isinstance(self.unk_weight, str) and _NUMBER.fullmatch(self.unk_weight)):
            yield f"unk_weight: found {shown(self.unk_weight)}, expected a number or {UNKNOWN_WORD}"


@dataclass(frozen=True)
class AsrDataConfig:
    libri_root: str
    bucket_file: str
    zero_infinity: bool
    decoder_args: DecoderConfig
    num_workers: int = key(low=0)
    batch_size: int = key(low=1)
    eval_batch_size: int = key(low=1)
    train_batch_size: int = key(32, low=1)  # in s3prl's YAML, but not read by its expert
    dict_path: str = ""
    train: tuple[str, ...] = ()
    dev: tuple[str, ...] = ()
    test: tuple[str, ...] = ()
    dev_clean: tuple[str, ...] = key((), spelt="dev-clean")
    dev_other: tuple[str, ...] = key((), spelt="dev-other")
    test_clean: tuple[str, ...] = key((), spelt="test-clean")
    test_other: tuple[str, ...] = key((), spelt="test-other")


@dataclass(frozen=True, kw_only=True)
class AsrConfig(DistillableConfig):
    datarc: AsrDataConfig
    modelrc: SequenceModelConfig


@dataclass(frozen=True)
class CorpusConfig:
    """`corpus` of PR and SF. s3prl reads more corpora than these two tasks need."""

    name: str
    path: str
    train: tuple[str, ...]
    dev: tuple[str, ...]
    test: tuple[str, ...]
    bucketing: bool
    batch_size: int = key(low=1)
    num_workers: int = key(12, low=0)
    ascending: bool = False
    ratio: float = key(1.0, above=0.0, high=1.0)
    offset: int = key(0, low=0)


@dataclass(frozen=True, kw_only=True)
class PhonemeCorpusConfig(CorpusConfig):
    lexicon: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class SlotCorpusConfig(CorpusConfig):
    train_speakers: tuple[str, ...]
    valid_speakers: tuple[str, ...]
    test_speakers: tuple[str, ...]


_OTHERS = dict.fromkeys(("librispeech", "common_voice", "sbcsae"), CorpusConfig)
CORPORA = Variants(by="name", of={"libriphone": PhonemeCorpusConfig, "snips": SlotCorpusConfig, **_OTHERS})


@dataclass(frozen=True)
class TextConfig:
    mode: str = key(choices=("character", "character-slot", "subword", "subword-slot", "word"))
    vocab_file: str = key()
    slots_file: str | None = None

    def problems(self) -> Iterator[str]:
        if self.mode.endswith("-slot") and self.slots_file is None:
            yield f"slots_file: missing; mode {self.mode} reads it"


_SLOT_METRICS = ("slot_type_f1", "slot_value_cer", "slot_value_wer", "slot_edit_f1_full", "slot_edit_f1_part")
METRICS = ("per", "wer", "cer", *_SLOT_METRICS)


@dataclass(frozen=True, kw_only=True)
class CtcConfig(DistillableConfig):
    corpus: Any = key(variants=CORPORA)
    text: TextConfig
    model: SequenceModelConfig
    metric: tuple[str, ...] = key(choices=METRICS)
    metric_higher_better: bool
    save_best_on: tuple[str, ...] = key(("dev",), choices=SPLITS)

    def problems(self) -> Iterator[str]:
        if not self.metric:
            yield "metric: found an empty list, expected at least one metric; the first chooses the checkpoint"
        if self.model.zero_infinity is None:
            yield "model.zero_infinity: missing; this key has no default"


@dataclass(frozen=True)
class MixtureDataConfig:
    num_speakers: int = key(low=1)
    chunk_size: int = key(2000, low=1)
    subsampling: int = key(1, low=1)
    label_delay: int = key(0, low=0)
    rate: int = key(16_000, low=16_000, high=16_000)  # the rate of every upstream
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

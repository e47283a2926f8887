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
    module: str = key(choices=("LSTM", "GRU"), about="kind of the layers")
    bidirection: bool = key(about="both directions of time")
    dim: tuple[int, ...] = key(about="width of each layer")
    dropout: tuple[float, ...] = key(about="dropout of each layer")
    layer_norm: tuple[bool, ...] = key(about="LayerNorm after each layer")
    proj: tuple[bool, ...] = key(about="linear layer after each layer")
    sample_rate: tuple[int, ...] = key(about="frames that each layer makes one of")
    sample_style: str = key(choices=("drop", "concat"), about="how frames become one: leave out, or join")
    total_rate: int = key(
        320, low=-1, about="samples of a frame before the first layer; -1: as the upstream gives them"
    )

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
    total_rate: int = key(
        320, low=-1, about="samples of a frame before the first layer; -1: as the upstream gives them"
    )


@dataclass(frozen=True)
class SequenceModelConfig:
    """`modelrc` of ASR, `model` of PR and SF."""

    project_dim: int = key(low=1, about="width of the linear layer between the upstream and the head")
    select: str = key(choices=("FrameLevel", "RNNs", "Wav2Letter"), about="head")
    RNNs: RnnConfig | None = key(None, about="settings of the head RNNs")
    Wav2Letter: Wav2LetterConfig | None = key(None, about="settings of the head Wav2Letter")
    FrameLevel: FrameLevelConfig | None = key(None, about="settings of the head FrameLevel")
    zero_infinity: bool | None = key(None, about="leave out utterances whose CTC loss is infinite")

    def problems(self) -> Iterator[str]:
        if self.select == "RNNs" and self.RNNs is None:
            yield "RNNs: missing; select names it"


_NUMBER = re.compile(r"[-+]?\d+(\.\d*)?")


@dataclass(frozen=True)
class DecoderConfig:
    decoder_type: str | None = key(
        "None",
        choices=("None", "kenlm"),
        about="None: the likeliest letter of each frame; kenlm: beam search with a language model",
    )
    nbest: int = key(1, low=1, about="hypotheses that the search gives")
    criterion: str = key("ctc", choices=("ctc",), about="loss that the head was trained with")
    beam: int = key(5, low=1, about="width of the beam")
    beam_threshold: float = key(25.0, above=0.0, about="largest distance in score to the best hypothesis")
    kenlm_model: str = key("", about="file of the language model")
    lexicon: str = key("", about="file of the words and their spelling")
    lm_weight: float = key(2.0, about="weight of the language model")
    word_score: float = key(-1.0, about="score of each word")
    unk_weight: Any = key(UNKNOWN_WORD, about="score of a word outside the lexicon")
    sil_weight: float = key(0.0, about="score of silence")
    unit_lm: bool = key(False, about="the language model is one of letters")

    def problems(self) -> Iterator[str]:
        known = isinstance(self.unk_weight, int | float) or self.unk_weight in (UNKNOWN_WORD, "-math.inf")
        if not known and not (isinstance(self.unk_weight, str) and _NUMBER.fullmatch(self.unk_weight)):
            yield f"unk_weight: found {shown(self.unk_weight)}, expected a number or {UNKNOWN_WORD}"


@dataclass(frozen=True)
class AsrDataConfig:
    libri_root: str = key(about="folder of LibriSpeech")
    bucket_file: str = key(about="folder of the manifests")
    zero_infinity: bool = key(about="leave out utterances whose CTC loss is infinite")
    decoder_args: DecoderConfig = key(about="how letters become words")
    num_workers: int = key(low=0, about="processes that read audio; 0: no process beside the run")
    batch_size: int = key(low=1, about="utterances in a training batch; s3prl halves batches of long ones")
    eval_batch_size: int = key(low=1, about="utterances in a batch of dev or test")
    train_batch_size: int = key(32, low=1, about="in s3prl's YAML, but not read by its expert")
    dict_path: str = key("", about="file of the letters")
    train: tuple[str, ...] = key((), about="manifests of the split train")
    dev: tuple[str, ...] = key((), about="manifests of the split dev")
    test: tuple[str, ...] = key((), about="manifests of the split test")
    dev_clean: tuple[str, ...] = key((), spelt="dev-clean", about="manifests of the split dev-clean")
    dev_other: tuple[str, ...] = key((), spelt="dev-other", about="manifests of the split dev-other")
    test_clean: tuple[str, ...] = key((), spelt="test-clean", about="manifests of the split test-clean")
    test_other: tuple[str, ...] = key((), spelt="test-other", about="manifests of the split test-other")


@dataclass(frozen=True, kw_only=True)
class AsrConfig(DistillableConfig):
    datarc: AsrDataConfig = key(about="the speech, and how it is cut into batches")
    modelrc: SequenceModelConfig = key(about="the head")


@dataclass(frozen=True)
class CorpusConfig:
    """`corpus` of PR and SF. s3prl reads more corpora than these two tasks need."""

    name: str = key(about="the corpus")
    path: str = key(about="folder of the corpus")
    train: tuple[str, ...] = key(about="parts of the corpus for training")
    dev: tuple[str, ...] = key(about="parts of the corpus for dev")
    test: tuple[str, ...] = key(about="parts of the corpus for the test")
    bucketing: bool = key(about="batches of similar lengths")
    batch_size: int = key(low=1, about="utterances in a batch")
    num_workers: int = key(12, low=0, about="processes that read audio; 0: no process beside the run")
    ascending: bool = key(False, about="short utterances first")
    ratio: float = key(1.0, above=0.0, high=1.0, about="share of dev and test that is used; training uses all")
    offset: int = key(0, low=0, about="first utterance of dev and test that is used")


@dataclass(frozen=True, kw_only=True)
class PhonemeCorpusConfig(CorpusConfig):
    lexicon: tuple[str, ...] = key(about="files of the words and their phonemes")


@dataclass(frozen=True, kw_only=True)
class SlotCorpusConfig(CorpusConfig):
    train_speakers: tuple[str, ...] = key(about="speakers of the training speech")
    valid_speakers: tuple[str, ...] = key(about="speakers of dev")
    test_speakers: tuple[str, ...] = key(about="speakers of the test")


_OTHERS = dict.fromkeys(("librispeech", "common_voice", "sbcsae"), CorpusConfig)
CORPORA = Variants(by="name", of={"libriphone": PhonemeCorpusConfig, "snips": SlotCorpusConfig, **_OTHERS})


@dataclass(frozen=True)
class TextConfig:
    mode: str = key(
        choices=("character", "character-slot", "subword", "subword-slot", "word"),
        about="unit of the text; -slot: with marks of slots",
    )
    vocab_file: str = key(about="file of the units")
    slots_file: str | None = key(None, about="file of the slots")

    def problems(self) -> Iterator[str]:
        if self.mode.endswith("-slot") and self.slots_file is None:
            yield f"slots_file: missing; mode {self.mode} reads it"


_SLOT_METRICS = ("slot_type_f1", "slot_value_cer", "slot_value_wer", "slot_edit_f1_full", "slot_edit_f1_part")
METRICS = ("per", "wer", "cer", *_SLOT_METRICS)


@dataclass(frozen=True, kw_only=True)
class CtcConfig(DistillableConfig):
    corpus: Any = key(variants=CORPORA, about="the speech, and how it is cut into batches")
    text: TextConfig = key(about="what is predicted")
    model: SequenceModelConfig = key(about="the head")
    metric: tuple[str, ...] = key(choices=METRICS, about="metrics; the first one chooses the checkpoint")
    metric_higher_better: bool = key(about="true where a higher first metric is better")
    save_best_on: tuple[str, ...] = key(("dev",), choices=SPLITS, about="splits on which the best checkpoint is chosen")

    def problems(self) -> Iterator[str]:
        if not self.metric:
            yield "metric: found an empty list, expected at least one metric; the first chooses the checkpoint"
        if self.model.zero_infinity is None:
            yield "model.zero_infinity: missing; this key has no default"


@dataclass(frozen=True)
class MixtureDataConfig:
    num_speakers: int = key(low=1, about="speakers of a mixture")
    chunk_size: int = key(2000, low=1, about="longest piece of a training mixture, in frames")
    subsampling: int = key(1, low=1, about="frames that become one")
    label_delay: int = key(0, low=0, about="frames by which the labels come later")
    rate: int = key(16_000, low=16_000, high=16_000, about="samples a second")  # the rate of every upstream
    frame_shift: int | None = key(None, low=1, about="samples from frame to frame; null: those of the upstream")
    use_last_samples: bool = key(True, about="use the rest at the end of a mixture")


@dataclass(frozen=True)
class LoaderConfig:
    num_workers: int = key(low=0, about="processes that read audio; 0: no process beside the run")
    train_batchsize: int = key(low=1, about="mixtures in a training batch")
    eval_batchsize: int = key(low=1, about="mixtures in a batch of dev or test")
    train_dir: str = key(about="folder of the training mixtures")
    dev_dir: str = key(about="folder of the dev mixtures")
    test_dir: str = key(about="folder of the test mixtures")


@dataclass(frozen=True)
class ScoreConfig:
    save_predictions: bool = key(about="write what was predicted, for the score")


@dataclass(frozen=True)
class SeparatorConfig:
    rnn_layers: int = key(low=0, about="number of LSTM layers")
    hidden_size: int = key(low=1, about="width of the LSTM layers")


@dataclass(frozen=True)
class DiarizationConfig:
    datarc: MixtureDataConfig = key(about="the mixtures")
    loaderrc: LoaderConfig = key(about="where the mixtures are, and how they are cut into batches")
    scorerc: ScoreConfig = key(about="the score")
    modelrc: SeparatorConfig = key(about="the head")

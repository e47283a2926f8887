"""A whole configuration of run_downstream.py: sections, keys, types, ranges, and the names that s3prl evaluates.

Every value that s3prl reads from a YAML, an override or a checkpoint is checked here first.
"""

from __future__ import annotations

import ast
import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from s3prl_gendistiller.config_optimizer import TrainedConfig
from s3prl_gendistiller.config_runner import LoopConfig
from s3prl_gendistiller.documents import leaves
from s3prl_gendistiller.errors import ConfigError, UserError
from s3prl_gendistiller.host import expert_configs as experts
from s3prl_gendistiller.host import sequence_configs as sequences
from s3prl_gendistiller.host import soft_labels
from s3prl_gendistiller.host.locate import find_host
from s3prl_gendistiller.schema import check_present, checked, key
from s3prl_gendistiller.schema_values import one_of

EXPERTS: dict[str, type] = {
    "asr": sequences.AsrConfig,
    "ctc": sequences.CtcConfig,
    "speech_commands": experts.KeywordConfig,
    "quesst14_dtw": experts.QueryConfig,
    "voxceleb1": experts.SpeakerConfig,
    "sv_voxceleb1": experts.TrialConfig,
    "diarization": sequences.DiarizationConfig,
    "fluent_commands": experts.CommandConfig,
    "emotion": experts.EmotionConfig,
}
# Keys whose text an expert of s3prl outside SUPERB evaluates, or looks up in torch.nn.
EVALUATED = (
    *("select", "module", "agg_module", "utter_module", "ObjectiveLoss", "pooling", "pooling_name", "model_type"),
    *("metric", "activation", "rnn"),
)


@dataclass(frozen=True, kw_only=True)
class TrainingConfig(LoopConfig):
    """The keys that s3prl's downstream Runner reads from `runner`."""

    eval_step: int = key(low=1, about="steps from one score on dev to the next")
    eval_dataloaders: tuple[str, ...] = key(
        choices=experts.SPLITS, about="splits that are scored in training; the best checkpoint on each is kept"
    )
    train_dataloader: str = key("train", choices=experts.SPLITS, about="split that is trained on")
    evaluate_ratio: float = key(1.0, above=0.0, high=1.0, about="share of a split that is scored")


@dataclass(frozen=True)
class EvaluationConfig:
    """`runner` of a task without training."""

    evaluate_ratio: float = key(1.0, above=0.0, high=1.0, about="share of a split that is scored")


@dataclass(frozen=True)
class SpecAugConfig:
    """Masking of the features of a batch."""

    apply_time_warp: bool = key(True, about="warp time")
    time_warp_window: int = key(5, low=1, about="largest shift of the warping, in frames")
    time_warp_mode: str = key(
        "bicubic", choices=("bicubic", "bilinear", "nearest"), about="interpolation of the warping"
    )
    apply_freq_mask: bool = key(True, about="mask features")
    freq_mask_width_range: tuple[int, int] = key((0, 20), about="width of a mask of features: [least, most]")
    num_freq_mask: int = key(2, low=0, about="masks of features")
    apply_time_mask: bool = key(True, about="mask frames")
    time_mask_width_range: tuple[int, int] = key((0, 100), about="width of a mask of frames: [least, most]")
    num_time_mask: int = key(2, low=0, about="masks of frames")
    adaptive: bool = key(False, about="number and width of the masks follow from the length")
    adaptive_number_ratio: float = key(0.04, low=0.0, about="adaptive: masks for each frame")
    adaptive_size_ratio: float = key(0.04, low=0.0, high=1.0, about="adaptive: width of a mask for each frame")
    max_n_time_masks: int = key(20, low=0, about="adaptive: most masks of frames")

    def problems(self) -> Iterator[str]:
        for name in ("freq_mask_width_range", "time_mask_width_range"):
            low, high = getattr(self, name)
            if not 0 <= low < high:
                yield f"{name}: found {[low, high]}, expected two widths, the second above the first"
        if not (self.apply_time_warp or self.apply_freq_mask or self.apply_time_mask):
            yield "apply_time_warp: found false for all three, expected one of them true; specaug: null for none"


@dataclass(frozen=True, kw_only=True)
class _DownstreamConfig(TrainedConfig):
    runner: TrainingConfig
    downstream_expert: Any = key(about="the task")
    specaug: SpecAugConfig | None = key(None, about="masking of the features in training; null: none")


@dataclass(frozen=True, kw_only=True)
class _SpeechRunnerConfig(TrainingConfig):
    eval_dataloaders: tuple[str, ...] = key(choices=sequences.ASR_SPLITS)
    train_dataloader: str = key("train", choices=sequences.ASR_SPLITS)


@dataclass(frozen=True, kw_only=True)
class _SpeechConfig(_DownstreamConfig):
    runner: _SpeechRunnerConfig
    downstream_expert: sequences.AsrConfig

    def problems(self) -> Iterator[str]:
        yield from super().problems()
        for name in (*self.runner.eval_dataloaders, self.runner.train_dataloader):
            if not getattr(self.downstream_expert.datarc, name.replace("-", "_")):
                yield f"downstream_expert.datarc.{name}: missing; runner names it as a split"


@dataclass(frozen=True)
class _QueryConfig:
    runner: EvaluationConfig = key(about="the evaluation")
    downstream_expert: experts.QueryConfig = key(about="the task")


def check_downstream(downstream: str, content: Mapping[str, Any], source: str) -> dict[str, Any]:
    """Checks a configuration with its overrides applied; returns it with every value converted to the type of its key.

    `source` is the origin of the configuration, for the message. UserError: there is no such task. ConfigError: lists
    all problems.
    """
    reader = _reader(downstream, content, source)
    found = checked(reader, content, source)
    _check_names(downstream, found, source)
    return found


def check_stored_config(downstream: str, content: Mapping[str, Any], source: str) -> None:
    """Checks the configuration in a checkpoint as `check_downstream` does, but lets keys be missing."""
    check_present(_reader(downstream, content, source), content, source)
    _check_names(downstream, content, source)


def _reader(downstream: str, content: Mapping[str, Any], source: str) -> type:
    base = soft_labels.stock_task(downstream)
    if base not in tasks():
        raise UserError(f"-d: found {downstream!r}, {one_of(str(downstream), [*EXPERTS, *soft_labels.BASES])}")
    if "student" in content or "pretrain_expert" in content:
        raise UserError(
            f"{source}: holds {'student' if 'student' in content else 'pretrain_expert'}, a configuration of "
            "run_pretrain.py; expected the sections runner, optimizer and downstream_expert of a downstream task"
        )
    return whole_config(base) if base in EXPERTS else _OtherConfig


def splits(downstream: str, content: Mapping[str, Any]) -> tuple[str, ...]:
    """Splits that ``-t`` can name; empty for tasks outside SUPERB. The configuration `content` names those of ASR."""
    base = soft_labels.stock_task(downstream)
    if base not in EXPERTS:
        return ()
    if base == "quesst14_dtw":
        return ("dev", "test", "eval")
    data = content.get("downstream_expert", {}).get("datarc", {})
    return tuple(name for name in sequences.ASR_SPLITS if data.get(name)) if base == "asr" else experts.SPLITS


def tasks() -> list[str]:
    """Names of all downstream tasks of s3prl."""
    return sorted(path.parent.name for path in (find_host().package / "downstream").glob("*/expert.py"))


def whole_config(base: str) -> type:
    """Dataclass of all sections of the configuration of one of `EXPERTS`."""
    if base in ("quesst14_dtw", "asr"):
        return _QueryConfig if base == "quesst14_dtw" else _SpeechConfig
    fields = [("downstream_expert", EXPERTS[base])]
    return dataclasses.make_dataclass("DownstreamConfig", fields, bases=(_DownstreamConfig,), frozen=True, kw_only=True)


@dataclass(frozen=True, kw_only=True)
class _OtherRunnerConfig(TrainingConfig):
    eval_dataloaders: tuple[str, ...]
    train_dataloader: str = "train"


@dataclass(frozen=True, kw_only=True)
class _OtherConfig(_DownstreamConfig):
    """Configuration of a task of s3prl outside SUPERB, whose expert's keys are not known here."""

    runner: _OtherRunnerConfig
    downstream_expert: dict[str, Any]


def _check_names(downstream: str, content: Mapping[str, Any], source: str) -> None:
    """Checks beyond the dataclasses: a teacher's section, and the names that experts outside SUPERB evaluate."""
    expert = content.get("downstream_expert", {})
    if downstream in EXPERTS:
        if soft_labels.SECTION in expert:
            found = f"downstream_expert.{soft_labels.SECTION}: found with -d {downstream}"
            only = "only the tasks that begin with glmd_ are trained on a teacher's outputs"
            raise ConfigError(source, [f"{found}; {only}"])
        return
    if downstream in soft_labels.BASES:
        return
    known = _names_of(find_host().package / "downstream", downstream)
    problems = [
        f"{name}: found {value[:80]!r}, {one_of(value, known)}"
        for name, value in leaves(expert, "downstream_expert")
        if isinstance(value, str) and name.split(".")[-1].partition("[")[0] in EVALUATED and value not in known
    ]
    runner = content.get("runner", {})
    for name in (*runner.get("eval_dataloaders", ()), runner.get("train_dataloader", "train")):
        if not name.replace("-", "_").isidentifier():
            problems.append(f"runner.eval_dataloaders: found {name[:80]!r}, expected the name of a split")
    if problems:
        raise ConfigError(source, problems)


def _names_of(folder: Path, base: str) -> list[str]:
    """Names that a task's modules define or import as classes, and layers of torch.nn that s3prl looks up."""
    found = {*experts.ACTIVATIONS, "LSTM", "GRU", "RNN"}
    for path in (folder / "model.py", *(folder / base).glob("*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef):
                found.add(node.name)
            elif isinstance(node, ast.ImportFrom):
                names = (alias.asname or alias.name for alias in node.names)
                found.update(name for name in names if name[0].isupper())
    return sorted(found)

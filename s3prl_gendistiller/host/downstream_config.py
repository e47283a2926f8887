"""A whole configuration of run_downstream.py: sections, keys, types, ranges, and the names that s3prl evaluates.

It comes from a YAML, an override or a checkpoint; s3prl sees nothing of it that was not checked here.
"""

from __future__ import annotations

import ast
import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from s3prl_gendistiller.config import LoopConfig
from s3prl_gendistiller.config_optimizer import TrainedConfig
from s3prl_gendistiller.documents import DEPTH
from s3prl_gendistiller.errors import ConfigError, UserError
from s3prl_gendistiller.host import expert_configs as experts
from s3prl_gendistiller.host import matching_configs as matching
from s3prl_gendistiller.host import sequence_configs as sequences
from s3prl_gendistiller.host import soft_labels
from s3prl_gendistiller.host.locate import find_host
from s3prl_gendistiller.schema import check_present, checked, key
from s3prl_gendistiller.schema_values import one_of

EXPERTS: dict[str, type] = {
    "asr": sequences.AsrConfig,
    "ctc": sequences.CtcConfig,
    "speech_commands": experts.KeywordConfig,
    "quesst14_dtw": matching.QueryConfig,
    "voxceleb1": experts.SpeakerConfig,
    "sv_voxceleb1": matching.TrialConfig,
    "diarization": matching.DiarizationConfig,
    "fluent_commands": experts.CommandConfig,
    "emotion": experts.EmotionConfig,
}
# Keys whose text one of s3prl's other experts evaluates, or looks up in torch.nn.
EVALUATED = (
    *("select", "module", "agg_module", "utter_module", "ObjectiveLoss", "pooling", "pooling_name", "model_type"),
    *("metric", "activation", "rnn"),
)


@dataclass(frozen=True, kw_only=True)
class TrainingConfig(LoopConfig):
    """The keys that s3prl's downstream Runner reads from `runner`."""

    eval_step: int = key(low=1)
    eval_dataloaders: tuple[str, ...] = key(choices=experts.SPLITS)
    train_dataloader: str = key("train", choices=experts.SPLITS)
    evaluate_ratio: float = key(1.0, above=0.0, high=1.0)


@dataclass(frozen=True)
class EvaluationConfig:
    """`runner` of a task that is not trained."""

    evaluate_ratio: float = key(1.0, above=0.0, high=1.0)


@dataclass(frozen=True)
class SpecAugConfig:
    """What is masked of the features of a batch."""

    apply_time_warp: bool = True
    time_warp_window: int = key(5, low=1)
    time_warp_mode: str = key("bicubic", choices=("bicubic", "bilinear", "nearest"))
    apply_freq_mask: bool = True
    freq_mask_width_range: tuple[int, int] = (0, 20)
    num_freq_mask: int = key(2, low=0)
    apply_time_mask: bool = True
    time_mask_width_range: tuple[int, int] = (0, 100)
    num_time_mask: int = key(2, low=0)
    adaptive: bool = False
    adaptive_number_ratio: float = key(0.04, low=0.0)
    adaptive_size_ratio: float = key(0.04, low=0.0, high=1.0)
    max_n_time_masks: int = key(20, low=0)

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
    downstream_expert: Any
    specaug: SpecAugConfig | None = None


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
    runner: EvaluationConfig
    downstream_expert: matching.QueryConfig


def check_downstream(downstream: str, content: Mapping[str, Any], source: str) -> dict[str, Any]:
    """`content` with every value as it is read.

    Args:
        downstream: name of a task, one of s3prl's or of ours.
        content: the configuration, its overrides applied.
        source: where it comes from, for the message.

    Raises:
        UserError: there is no such task.
        ConfigError: lists everything that is wrong.
    """
    reader = _reader(downstream, content, source)
    found = checked(reader, content, source)
    _check_names(downstream, found, source)
    return found


def check_stored_config(downstream: str, content: Mapping[str, Any], source: str) -> None:
    """As `check_downstream`, of the configuration that a checkpoint holds: what is missing in it is no problem here.

    Raises:
        UserError: as `check_downstream`.
    """
    check_present(_reader(downstream, content, source), content, source)
    _check_names(downstream, content, source)


def _reader(downstream: str, content: Mapping[str, Any], source: str) -> type:
    base = soft_labels.BASES.get(downstream, downstream)
    if base not in tasks():
        raise UserError(f"-d: found {downstream!r}, {one_of(str(downstream), [*EXPERTS, *soft_labels.BASES])}")
    if "student" in content or "pretrain_expert" in content:
        raise UserError(
            f"{source}: holds {'student' if 'student' in content else 'pretrain_expert'}, a configuration of "
            "run_pretrain.py; expected the sections runner, optimizer and downstream_expert of a downstream task"
        )
    return whole_config(base) if base in EXPERTS else _OtherConfig


def splits(downstream: str, content: Mapping[str, Any]) -> tuple[str, ...]:
    """What can be trained and evaluated on: the names that ``-t`` and `runner.eval_dataloaders` take.

    Args:
        content: a configuration that `check_downstream` has passed.
    """
    base = soft_labels.BASES.get(downstream, downstream)
    if base == "quesst14_dtw":
        return ("dev", "eval", "test")
    if base == "asr":
        data = content["downstream_expert"]["datarc"]
        return tuple(name for name in sequences.ASR_SPLITS if data.get(name))
    return experts.SPLITS


def tasks() -> list[str]:
    """Names of s3prl's downstream tasks."""
    return sorted(path.parent.name for path in (find_host().package / "downstream").glob("*/expert.py"))


def whole_config(base: str) -> type:
    """The dataclass of one of `EXPERTS`, all its sections."""
    if base in ("quesst14_dtw", "asr"):
        return _QueryConfig if base == "quesst14_dtw" else _SpeechConfig
    return dataclasses.make_dataclass(
        "DownstreamConfig",
        [("downstream_expert", EXPERTS[base])],
        bases=(_DownstreamConfig,),
        frozen=True,
        kw_only=True,
    )


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
    """What the sections of one task alone do not say."""
    expert = content.get("downstream_expert", {})
    if downstream in EXPERTS:
        if soft_labels.SECTION in expert:
            name = f"downstream_expert.{soft_labels.SECTION}"
            raise ConfigError(source, [f"{name}: found with -d {downstream}; only -d glmd_... learns from a teacher"])
        return
    if downstream in soft_labels.BASES:
        return
    known = _names_of(find_host().package / "downstream", downstream)
    problems = [
        f"{name}: found {value[:80]!r}, {one_of(value, known)}"
        for name, value in _texts(expert, "downstream_expert")
        if name.split(".")[-1].partition("[")[0] in EVALUATED and value not in known
    ]
    runner = content.get("runner", {})
    for name in (*runner.get("eval_dataloaders", ()), runner.get("train_dataloader", "train")):
        if not name.replace("-", "_").isidentifier():
            problems.append(f"runner.eval_dataloaders: found {name[:80]!r}, expected the name of a split")
    if problems:
        raise ConfigError(source, problems)


def _texts(content: Any, name: str, depth: int = 0) -> Iterator[tuple[str, str]]:
    if depth > DEPTH:
        raise UserError(f"{name.partition('.')[0]}: nested deeper than {DEPTH} levels, expected a configuration")
    if isinstance(content, Mapping):
        for part, value in content.items():
            yield from _texts(value, f"{name}.{part}", depth + 1)
    elif isinstance(content, list | tuple):
        for index, value in enumerate(content):
            yield from _texts(value, f"{name}[{index}]", depth + 1)
    elif isinstance(content, str):
        yield name, content


def _names_of(folder: Path, base: str) -> list[str]:
    """What a task's own modules define, or import under a class's name, and layers of torch.nn that s3prl looks up."""
    found = {*experts.ACTIVATIONS, "LSTM", "GRU", "RNN"}
    for path in (folder / "model.py", *(folder / base).glob("*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef):
                found.add(node.name)
            elif isinstance(node, ast.ImportFrom):
                names = (alias.asname or alias.name for alias in node.names)
                found.update(name for name in names if name[0].isupper())
    return sorted(found)

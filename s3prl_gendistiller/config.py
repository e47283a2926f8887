"""Every key of the model and runner configurations, with its type, default and range.

A model YAML (``-g``) holds the sections `student`, `teacher`, `distill`, `warm_start`, `objectives`; a runner YAML
(``-c``) is s3prl's own (`runner`, `optimizer`, `scheduler`, `pretrain_expert.datarc`). Architecture keys carry the
names that s3prl's distiller uses. Either file may begin with ``base: other.yaml`` and state only its difference.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from s3prl_gendistiller.config_objectives import LayerwiseConfig, ObjectiveConfig, objective_problems
from s3prl_gendistiller.config_optimizer import TrainedConfig
from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.schema import from_dict, key, read_layered_yaml

CONTROLS = ("recur", "echo")  # values of history_input that feed no generated layer back
HUBERT_CONV_LAYERS = ((512, 10, 5), *((512, 3, 2),) * 4, *((512, 2, 2),) * 2)


@dataclass(frozen=True)
class BackboneConfig:
    """What GenDistiller and DistilHuBERT share: CNN, positional convolution and transformer layer (HuBERT Base)."""

    extractor_mode: str = key(
        "default", choices=("default", "layer_norm")
    )  # "default": GroupNorm over time, first layer
    extractor_conv_feature_layers: tuple[tuple[int, int, int], ...] = HUBERT_CONV_LAYERS  # [channels, kernel, stride]
    extractor_dropout: float = key(0.0, low=0.0, high=1.0)
    feature_grad_mult: float = key(0.1, low=0.0, high=1.0)  # scales the gradient into the CNN; 0 freezes it
    conv_pos: int = key(128, low=1)
    conv_pos_groups: int = key(16, low=1)
    encoder_embed_dim: int = key(768, low=1)
    encoder_ffn_embed_dim: int = key(3072, low=1)
    encoder_attention_heads: int = key(12, low=1)
    activation_fn: str = key("gelu", choices=("gelu", "relu"))
    layer_norm_first: bool = False
    dropout: float = key(0.1, low=0.0, high=1.0)
    attention_dropout: float = key(0.1, low=0.0, high=1.0)
    activation_dropout: float = key(0.1, low=0.0, high=1.0)

    def problems(self) -> Iterator[str]:
        width = self.encoder_embed_dim
        for name in ("encoder_attention_heads", "conv_pos_groups"):
            if width % getattr(self, name):
                yield f"{name}: {getattr(self, name)} does not divide encoder_embed_dim {width}"
        if not self.extractor_conv_feature_layers:
            yield "extractor_conv_feature_layers: found no layer, expected at least one [channels, kernel, stride]"
        for index, layer in enumerate(self.extractor_conv_feature_layers):
            if min(layer) < 1:
                yield f"extractor_conv_feature_layers[{index}]: found {list(layer)}, expected three positive numbers"


@dataclass(frozen=True)
class GenDistillerConfig(BackboneConfig):
    """The student that generates the teacher's layers (arXiv 2406.09444); ablation switches last."""

    dropout: float = key(0.0, low=0.0, high=1.0)  # a student this small underfits: docs/ablation.md
    attention_dropout: float = key(0.0, low=0.0, high=1.0)
    activation_dropout: float = key(0.0, low=0.0, high=1.0)
    normalize: bool = False  # zero mean and unit variance per utterance, as HuBERT Large takes its input
    feature_norm: bool = True  # HuBERT normalises the CNN's output before projecting it; DistilHuBERT does not
    position_bias: str = key("none", choices=("none", "gated"))  # "gated": WavLM's gated relative position bias
    history: str = key("previous", choices=("previous", "all"))  # "all": each step attends to all earlier ones too
    history_input: str = key("carry", choices=("add", "project", "concat", "carry", *CONTROLS))
    skip_connection: str = key("none", choices=("none", "history", "layer", "features"))
    output_layer: bool = True
    output_init: str = key(
        "identity", choices=("random", "identity")
    )  # "identity": first generates what the layer gives
    history_init: str = key("zero", choices=("random", "zero"))  # "zero": the projected history comes in by training
    step_embedding: bool = True
    step_norms: bool = True  # gain and shift of the shared layer's norms by step (4 D parameters each)
    silent_passes: int = key(0, low=0, high=8)  # passes through the shared layer before the first prediction
    gradient_checkpointing: bool = False  # each step's layer is computed again in the backward pass: less memory

    def problems(self) -> Iterator[str]:
        yield from super().problems()
        if self.silent_passes and self.history_input not in ("carry", *CONTROLS):
            yield (
                f"silent_passes: found {self.silent_passes} with history_input {self.history_input}, expected 0; "
                "only carry, recur and echo hand a silent pass on"
            )
        if self.history == "all" and self.position_bias == "gated":
            yield (
                "position_bias: found gated with history all, expected none; a bias for every pair of frames of all "
                "steps would take (N T) x (N T) numbers"
            )


@dataclass(frozen=True)
class DistilHubertConfig(BackboneConfig):
    """The baseline (arXiv 2110.01900), built as s3prl's own `DistillerModel`."""

    encoder_layers: int = key(2, low=1, high=100)
    encoder_layerdrop: float = key(0.0, low=0.0, high=1.0)
    out_layer_type: str = key("expand-last", choices=("expand-last", "linear"))  # "linear": one linear head a layer
    feature_norm: bool = False  # control: HuBERT's norm before the projection, as GenDistiller has it


@dataclass(frozen=True)
class TeacherConfig:
    """Exactly one of `upstream` (a name in s3prl.hub, with an optional `checkpoint`) and `folder` (transformers)."""

    upstream: str | None = None
    checkpoint: str | None = None
    folder: str | None = None

    def problems(self) -> Iterator[str]:
        if (self.upstream is None) == (self.folder is None):
            found = "neither" if self.upstream is None else "both"
            yield f"upstream: found {found} of upstream and folder, expected one: an s3prl upstream or a local folder"
        if self.checkpoint is not None and self.upstream is None:
            yield "checkpoint: found without upstream; a transformers folder holds its own weights"


@dataclass(frozen=True)
class TargetsConfig:
    """Which teacher layers are distilled, in s3prl's counting (n = output of transformer layer n)."""

    target_layers: tuple[int, ...] = (4, 8, 12)

    def problems(self) -> Iterator[str]:
        layers = self.target_layers
        if not layers:
            yield "target_layers: found an empty list, expected at least one layer"
        for index, layer in enumerate(layers):
            if layer < 1:
                yield f"target_layers[{index}]: {layer} is below 1, the first transformer layer"
        if any(after <= before for before, after in zip(layers, layers[1:], strict=False)):
            yield f"target_layers: found {list(layers)}, expected increasing layer numbers"


@dataclass(frozen=True)
class GenerationTargetsConfig(TargetsConfig):
    """Targets, and what is fed back as history while training. Generation after training is always free running."""

    feedback: str = key("free_running", choices=("free_running", "teacher_forced", "scheduled"))
    # `scheduled`: the probability of feeding the teacher's layer goes linearly from start to end in so many steps.
    feedback_start: float = key(1.0, low=0.0, high=1.0)
    feedback_end: float = key(0.0, low=0.0, high=1.0)
    feedback_steps: int = key(100_000, low=1)
    random_depth: bool = False  # train each batch on its first k layers, k drawn from 1..N: for use with fewer steps

    def teacher_probability(self, step: int) -> float:
        """How likely a generated layer is replaced by the teacher's when it is fed back at training step `step`."""
        if self.feedback != "scheduled":
            return 1.0 if self.feedback == "teacher_forced" else 0.0
        progress = min(step / self.feedback_steps, 1.0)
        return self.feedback_start + (self.feedback_end - self.feedback_start) * progress


@dataclass(frozen=True)
class WarmStartConfig:
    """What the student copies from the teacher before training; `layer` is the teacher layer, or null."""

    front_end: bool = True
    position: bool = True
    layer: int | None = key(1, low=1)


@dataclass(frozen=True)
class BaselineWarmStartConfig:
    """As in the stock recipe: CNN and projection; positional convolution and the first layers."""

    front_end: bool = True
    position: bool = True
    layers: bool = True
    norms: bool = False  # control: the LayerNorm after the positional convolution too, which the recipe leaves random


@dataclass(frozen=True)
class GenDistillerModelConfig:
    """A whole model YAML of the task `gendistiller`."""

    teacher: TeacherConfig
    student: GenDistillerConfig = field(default_factory=GenDistillerConfig)
    distill: GenerationTargetsConfig = field(default_factory=GenerationTargetsConfig)
    warm_start: WarmStartConfig = field(default_factory=WarmStartConfig)
    objectives: tuple[ObjectiveConfig, ...] = (LayerwiseConfig(),)

    def problems(self) -> Iterator[str]:
        feeds_back = self.distill.feedback != "free_running"
        if feeds_back and self.student.history_input in CONTROLS and self.student.skip_connection != "history":
            yield (
                f"distill.feedback: found {self.distill.feedback} with student.history_input "
                f"{self.student.history_input}, expected free_running; that student feeds no generated layer back"
            )
        yield from objective_problems(
            self.objectives,
            self.distill.target_layers,
            feeds_teacher_back=feeds_back,
            random_depth=self.distill.random_depth,
        )


@dataclass(frozen=True)
class DistilHubertModelConfig:
    """A whole model YAML of the task `distilhubert`."""

    teacher: TeacherConfig
    student: DistilHubertConfig = field(default_factory=DistilHubertConfig)
    distill: TargetsConfig = field(default_factory=TargetsConfig)
    warm_start: BaselineWarmStartConfig = field(default_factory=BaselineWarmStartConfig)
    objectives: tuple[ObjectiveConfig, ...] = (LayerwiseConfig(),)

    def problems(self) -> Iterator[str]:
        yield from objective_problems(self.objectives, self.distill.target_layers, feeds_teacher_back=False)


ModelConfig = GenDistillerModelConfig | DistilHubertModelConfig
MODEL_CONFIGS: dict[str, type] = {"gendistiller": GenDistillerModelConfig, "distilhubert": DistilHubertModelConfig}


@dataclass(frozen=True)
class DataConfig:
    """`pretrain_expert.datarc` of the runner YAML: which speech, and how it is cut into batches."""

    libri_root: str  # folder that the manifests' file_path is relative to
    file_path: str  # folder that holds the manifests
    sets: tuple[str, ...]  # manifests without .csv
    train_batch_size: int = key(24, low=1)
    num_workers: int = key(4, low=0)
    crop_samples: int = key(250_000, low=400)
    valid_sets: tuple[str, ...] = ()
    valid_step: int = key(1000, low=1)  # in optimiser steps
    skip_bad: bool = False  # leave out audio that cannot be read, instead of stopping

    def problems(self) -> Iterator[str]:
        if not self.sets:
            yield "sets: found an empty list, expected at least one manifest name"


@dataclass(frozen=True, kw_only=True)
class LoopConfig:
    """The keys that both of s3prl's Runners read from `runner`."""

    total_steps: int = key(low=1)
    log_step: int = key(low=1)
    save_step: int = key(low=1)
    max_keep: int = key(low=1)  # so many checkpoints stay; the oldest goes when the newest is on the disk
    gradient_clipping: float = key(above=0.0)
    gradient_accumulate_steps: int = key(low=1)
    fp16: bool = False


@dataclass(frozen=True, kw_only=True)
class StockRunnerSectionConfig(LoopConfig):
    """The keys that s3prl's pretrain Runner reads from `runner`."""

    total_steps: int  # -1 in s3prl's own files that count epochs
    n_epochs: int  # above 0 it replaces total_steps

    def problems(self) -> Iterator[str]:
        if self.total_steps < 1 and self.n_epochs <= 0:
            yield f"total_steps: found {self.total_steps}, expected at least 1"


@dataclass(frozen=True, kw_only=True)
class RunnerSectionConfig(StockRunnerSectionConfig):
    """`runner` of our own tasks."""

    gradient_accumulate_steps: int = key(1, low=1)
    n_epochs: int = -1

    def problems(self) -> Iterator[str]:
        yield from super().problems()
        for name in ("log_step", "save_step"):
            if self.n_epochs <= 0 and getattr(self, name) >= self.total_steps:
                yield f"{name}: found {getattr(self, name)}, expected less than total_steps {self.total_steps}"


@dataclass(frozen=True)
class PretrainExpertConfig:
    datarc: DataConfig


@dataclass(frozen=True, kw_only=True)
class RunnerConfig(TrainedConfig):
    """A whole runner YAML. `optimizer` and `scheduler` are what s3prl's own builders take."""

    runner: RunnerSectionConfig
    pretrain_expert: PretrainExpertConfig


def read_model_config(task: str, source: str | Path | Mapping[str, Any]) -> ModelConfig:
    """The model configuration of `task` ("gendistiller" or "distilhubert") from a YAML path or a dictionary.

    Raises:
        UserError: it is a runner YAML.
        ConfigError: lists everything that is wrong.
    """
    named = f"{task} configuration" if isinstance(source, Mapping) else str(source)
    content = source if isinstance(source, Mapping) else read_layered_yaml(source)
    if "runner" in content and "teacher" not in content:
        raise UserError(f"{named}: found a runner YAML, expected a model YAML, with the sections teacher and student")
    return from_dict(MODEL_CONFIGS[task], content, named)

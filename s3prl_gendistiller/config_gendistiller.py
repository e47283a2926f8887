"""The keys of a GenDistiller's model configuration, with type, default and range."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar

from s3prl_gendistiller.config import BackboneConfig, ModelConfig, WarmStartConfig
from s3prl_gendistiller.config_objectives import TargetsConfig
from s3prl_gendistiller.forms import HISTORY_INPUTS, SKIP_CONNECTIONS
from s3prl_gendistiller.schema import key


@dataclass(frozen=True)
class GenDistillerConfig(BackboneConfig):
    """The student that generates the teacher's layers (arXiv 2406.09444); the ablation switches stand last."""

    dropout: float = key(0.0, low=0.0, high=1.0)  # a student this small underfits: docs/ablation.md
    attention_dropout: float = key(0.0, low=0.0, high=1.0)
    activation_dropout: float = key(0.0, low=0.0, high=1.0)
    normalize: bool = False  # input of zero mean and unit variance per utterance, as for HuBERT Large
    feature_norm: bool = True  # HuBERT normalises the CNN's output before projecting it; DistilHuBERT does not
    position_bias: str = key("none", choices=("none", "gated"))  # "gated": WavLM's gated relative position bias
    history: str = key("previous", choices=("previous", "all"))  # "all": each step attends to all earlier ones too
    history_input: str = key("carry", choices=tuple(HISTORY_INPUTS))
    skip_connection: str = key("none", choices=tuple(SKIP_CONNECTIONS))
    output_layer: bool = True
    output_init: str = key("identity", choices=("random", "identity"))  # "identity": before training, h_n is y_n
    history_init: str = key("zero", choices=("random", "zero"))  # "zero": before training, history has no effect
    step_embedding: bool = True
    step_norms: bool = True  # gain and shift of the shared layer's norms by step (4 D parameters each)
    silent_passes: int = key(0, low=0, high=8)  # passes through the shared layer before the first prediction
    gradient_checkpointing: bool = False  # recompute each step's layer in the backward pass, which saves memory

    @property
    def feeds_back(self) -> bool:
        """Whether a step uses the layer that the step before generated."""
        return not HISTORY_INPUTS[self.history_input].control or SKIP_CONNECTIONS[self.skip_connection].feeds_back

    def problems(self) -> Iterator[str]:
        yield from super().problems()
        if self.silent_passes and not HISTORY_INPUTS[self.history_input].carries:
            *others, last = (name for name, form in HISTORY_INPUTS.items() if form.carries)
            yield (
                f"silent_passes: found {self.silent_passes} with history_input {self.history_input}, expected 0; "
                f"only {', '.join(others)} and {last} use the hidden state of a silent pass"
            )
        if self.history == "all" and self.position_bias == "gated":
            yield (
                "position_bias: found gated with history all, expected none; a bias for every pair of frames of all "
                "steps would take (N T) x (N T) numbers"
            )


@dataclass(frozen=True)
class GenerationTargetsConfig(TargetsConfig):
    """Targets, and the history of a step while training. Generation after training is always free running."""

    feedback: str = key("free_running", choices=("free_running", "teacher_forced", "scheduled"))
    # "scheduled": the probability of a teacher layer goes linearly from feedback_start to feedback_end
    feedback_start: float = key(1.0, low=0.0, high=1.0)
    feedback_end: float = key(0.0, low=0.0, high=1.0)
    feedback_steps: int = key(100_000, low=1)
    # train each batch on its first k layers, k drawn from 1..N: for later use with fewer steps
    random_depth: bool = False

    @property
    def feeds_teacher_back(self) -> bool:
        return self.feedback != "free_running"

    def teacher_probability(self, step: int) -> float:
        if self.feedback != "scheduled":
            return 1.0 if self.feedback == "teacher_forced" else 0.0
        progress = min(step / self.feedback_steps, 1.0)
        return self.feedback_start + (self.feedback_end - self.feedback_start) * progress


@dataclass(frozen=True)
class SharedLayerWarmStartConfig(WarmStartConfig):
    """`layer` is the number of the teacher layer that becomes the student's shared layer, or null."""

    layers_off: ClassVar[str] = "layer: null"

    layer: int | None = key(1, low=1)

    def copied_layers(self, student: Any) -> tuple[int, ...]:
        return () if self.layer is None else (self.layer,)

    def layer_problems(self, student: Any, num_layers: int) -> Iterator[str]:
        if self.layer is not None and self.layer > num_layers:
            yield f"warm_start.layer: found {self.layer}, expected 1..{num_layers}, the teacher's layers"


@dataclass(frozen=True)
class GenDistillerModelConfig(ModelConfig):
    """A whole model YAML of the task `gendistiller`."""

    student: GenDistillerConfig = field(default_factory=GenDistillerConfig)
    distill: GenerationTargetsConfig = field(default_factory=GenerationTargetsConfig)
    warm_start: SharedLayerWarmStartConfig = field(default_factory=SharedLayerWarmStartConfig)

    def problems(self) -> Iterator[str]:
        if self.distill.feeds_teacher_back and not self.student.feeds_back:
            yield (
                f"distill.feedback: found {self.distill.feedback} with student.history_input "
                f"{self.student.history_input}, expected free_running; that student feeds no generated layer back"
            )
        yield from super().problems()

    def description(self) -> str:
        history = {"previous": "the one before", "all": "all before"}[self.student.history]
        if HISTORY_INPUTS[self.student.history_input].control:
            history = "its hidden state alone"
        return (
            f"A GenDistiller (arXiv 2310.13418, 2406.09444): one transformer layer ({self.shape}) that generates "
            f"layers {self.target_names} of {self.teacher_name} one after another, from {history}."
        )

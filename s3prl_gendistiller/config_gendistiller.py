"""The keys of a GenDistiller's model configuration, with type, default and range."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from s3prl_gendistiller.config import BackboneConfig, ModelConfig, WarmStartConfig
from s3prl_gendistiller.config_objectives import TargetsConfig
from s3prl_gendistiller.forms import HISTORY_INPUTS, SKIP_CONNECTIONS
from s3prl_gendistiller.schema import key


@dataclass(frozen=True)
class GenDistillerConfig(BackboneConfig):
    """The student that generates the teacher's layers (arXiv 2406.09444); the ablation switches stand last."""

    # keys of experiments that earlier versions had (docs/ablation.md) -> the value without an effect
    retired: ClassVar[Mapping[str, Any]] = {"history_units": 0, "step_rank": 0, "silent_passes": 0}
    # keys of other students -> the key that decides the same here
    elsewhere: ClassVar[Mapping[str, str]] = {
        name: "distill.target_layers decides the number of layers: one for each layer of the teacher that it names"
        for name in ("encoder_layers", "num_layers", "num_hidden_layers")
    }
    dropout: float = key(0.0, low=0.0, high=1.0)  # a student this small underfits: docs/ablation.md
    attention_dropout: float = key(0.0, low=0.0, high=1.0)
    activation_dropout: float = key(0.0, low=0.0, high=1.0)
    normalize: bool = key(
        False, about="zero mean and unit variance of each utterance, for teachers trained on such input"
    )
    # DistilHuBERT has no such norm
    feature_norm: bool = key(True, about="LayerNorm between CNN and projection, as in HuBERT")
    position_bias: str = key("none", choices=("none", "gated"), about="gated: WavLM's gated relative position bias")
    history: str = key(
        "previous",
        choices=("previous", "all"),
        about="frames that a step attends to: its own (previous), or those of all earlier steps, too (all)",
    )
    history_input: str = key(
        "carry",
        choices=tuple(HISTORY_INPUTS),
        about="how the layer before enters a step: docs/ablation.md has the forms; recur and echo are controls",
    )
    skip_connection: str = key(
        "none",
        choices=tuple(SKIP_CONNECTIONS),
        about="added to a generated layer: nothing, the layer before, the step's input, or the CNN's frames",
    )
    output_layer: bool = key(True, about="a linear layer after the shared layer; false: its output is the prediction")
    output_form: str = key(
        "linear",
        choices=("linear", "mlp"),
        about="of the output layer; mlp: beside the linear map, a block of two layers (D, 2 D, D) with GELU",
    )
    exposed_layer: str = key(
        "generated",
        choices=("generated", "hidden"),
        about="the student's layers: those that the output layer generates, or the hidden states before it",
    )
    predicted_from: str = key(
        "step",
        choices=("step", "last", "both"),
        about="from which state a layer is predicted in training: of its own step, of the last step, or both",
    )
    output_init: str = key(
        "identity",
        choices=("random", "identity"),
        about="start of the output layer; identity: a prediction starts as the shared layer's output",
    )
    history_init: str = key(
        "zero",
        choices=("random", "zero"),
        about="start of the history's projection; zero: the history has no effect before training",
    )
    step_embedding: bool = key(True, about="a learnt vector for each step, added to its input")
    step_norms: bool = key(True, about="the shared layer's norms have a gain and a shift for each step")
    gradient_checkpointing: bool = key(False, about="compute each step again in the backward pass, which saves memory")

    @property
    def feeds_back(self) -> bool:
        """Whether a step uses the layer that the step before generated."""
        return not HISTORY_INPUTS[self.history_input].control or SKIP_CONNECTIONS[self.skip_connection].feeds_back

    @property
    def predicts_each_step(self) -> bool:
        """Whether an output layer predicts a layer from the state of each step."""
        return self.output_layer and self.predicted_from != "last"

    def problems(self) -> Iterator[str]:
        yield from super().problems()
        if not self.output_layer:
            needless = {"output_form": "linear", "exposed_layer": "generated", "predicted_from": "step"}
            for name, wanted in needless.items():
                if (found := getattr(self, name)) != wanted:
                    yield f"{name}: found {found} with output_layer false, expected {wanted}, or output_layer true"
        if self.predicted_from != "step" and self.exposed_layer != "hidden":
            yield (
                f"predicted_from: found {self.predicted_from} with exposed_layer {self.exposed_layer}, expected step, "
                "or exposed_layer hidden; layers that are predicted from the last step are left out in use"
            )
        if self.predicted_from == "last" and (self.feeds_back or self.skip_connection != "none"):
            yield (
                f"predicted_from: found last with history_input {self.history_input} and skip_connection "
                f"{self.skip_connection}, expected step or both; such a student needs the layer of each step"
            )
        if self.history == "all" and self.position_bias == "gated":
            yield (
                "position_bias: found gated with history all, expected none; a bias for every pair of frames of all "
                "steps would take (N T) x (N T) numbers"
            )


@dataclass(frozen=True)
class GenerationTargetsConfig(TargetsConfig):
    """Targets, and the history of a step while training. Generation after training is always free running."""

    retired: ClassVar[Mapping[str, Any]] = {  # as in GenDistillerConfig
        **{"feedback_by": "utterance", "feedback_noise": 0.0, "feedback_gradient": "own", "carried_gradient": True}
    }
    feedback: str = key(
        "free_running",
        choices=("free_running", "teacher_forced", "scheduled"),
        about="history of a step in training: the student's own layer, the teacher's, or either one at random",
    )
    feedback_start: float = key(
        1.0, low=0.0, high=1.0, about="feedback scheduled: probability of the teacher's layer at the first step"
    )
    feedback_end: float = key(
        0.0, low=0.0, high=1.0, about="feedback scheduled: that probability after feedback_steps, reached linearly"
    )
    feedback_steps: int = key(100_000, low=1, about="feedback scheduled: steps from feedback_start to feedback_end")
    random_depth: bool = key(
        False, about="train each batch on its first k layers, k drawn at random: for use with fewer steps"
    )

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

    layer: int | None = key(1, low=1, about="the teacher's layer that is copied into the shared layer, or null")

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

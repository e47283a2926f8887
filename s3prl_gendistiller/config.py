"""The keys that the model configurations (``-g``) of all students share, with type, default and range.

A model YAML holds the sections `student`, `teacher`, `distill`, `warm_start` and `objectives`. Each kind of student has
its own class for them (`config_gendistiller`, `config_distilhubert`) and one row of `student_kinds.STUDENT_KINDS`.
Architecture keys have the names that s3prl's distiller uses. A YAML may begin with ``base: other.yaml`` and state only
its difference.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from s3prl_gendistiller.config_objectives import ENTRY, PRECISIONS, LayerwiseConfig, ObjectiveConfig, TargetsConfig
from s3prl_gendistiller.front_ends import FRONT_ENDS, STOCK, unread_keys
from s3prl_gendistiller.schema import key

HUBERT_CONV_LAYERS = ((512, 10, 5), *((512, 3, 2),) * 4, *((512, 2, 2),) * 2)
# As many multiply-adds as the CNN of ARMHuBERT-S (arXiv 2305.11685): 175 G of HuBERT's 552 G on the leaderboard's 32
# files. That CNN has 128, 256 and 432 channels, and two more convolutions, of kernel 1.
THIN_CHANNELS = (192, 320, 320, 320, 320, 432, 432)


@dataclass(frozen=True)
class BackboneConfig:
    """Architecture that all students share: CNN, positional convolution and transformer layer (HuBERT Base)."""

    front_end: str = key(
        "conv",
        choices=tuple(FRONT_ENDS),
        about="HuBERT's convolutions (conv), the same with fewer channels (thin), or log-mel energies (mel)",
    )
    mel_bins: int = key(80, low=1, high=256, about="front end mel: energies of a frame")
    mel_channels: int = key(256, low=1, about="front end mel: channels of each convolution over the energies")
    mel_convolutions: int = key(2, low=1, high=4, about="front end mel: number of convolutions over the energies")
    mel_norm: str = key(
        "utterance",
        choices=("utterance", "bin", "none"),
        about="front end mel: mean and variance of the utterance, of each bin, or two constants (none)",
    )
    thin_channels: tuple[int, ...] = key(THIN_CHANNELS, about="front end thin: channels of each convolution")
    extractor_mode: str = key(
        "default",
        choices=("default", "layer_norm"),
        about="norms of the CNN: GroupNorm over time in the first layer (default), or LayerNorm in every layer",
    )
    extractor_conv_feature_layers: tuple[tuple[int, int, int], ...] = key(
        HUBERT_CONV_LAYERS, about="front end conv: [channels, kernel, stride] of each convolution"
    )
    extractor_dropout: float = key(0.0, low=0.0, high=1.0, about="dropout in the CNN")
    feature_grad_mult: float = key(0.1, low=0.0, high=1.0, about="factor of the gradient into the CNN; 0 freezes it")
    conv_pos: int = key(128, low=1, about="length of the positional convolution, in frames of 20 ms")
    conv_pos_groups: int = key(16, low=1, about="groups of the positional convolution")
    encoder_embed_dim: int = key(768, low=1, about="width of the hidden states; may differ from the teacher's")
    encoder_ffn_embed_dim: int = key(3072, low=1, about="width inside the feed-forward block")
    encoder_attention_heads: int = key(12, low=1, about="heads of the attention")
    activation_fn: str = key("gelu", choices=("gelu", "relu"), about="activation of the feed-forward block")
    layer_norm_first: bool = key(False, about="norms before attention and feed-forward block, as in HuBERT Large")
    dropout: float = key(0.1, low=0.0, high=1.0, about="dropout after attention and feed-forward block")
    attention_dropout: float = key(0.1, low=0.0, high=1.0, about="dropout of the attention's weights")
    activation_dropout: float = key(0.1, low=0.0, high=1.0, about="dropout after the activation")

    def problems(self) -> Iterator[str]:
        for name, other in unread_keys(self.front_end).items():
            if getattr(self, name) != self.__dataclass_fields__[name].default:
                yield (
                    f"{name}: found with front_end {self.front_end}, expected front_end {other}; "
                    f"{self.front_end} does not read this key"
                )
        counts = {name: getattr(self, name) for name in ("encoder_attention_heads", "conv_pos_groups")}
        yield from _width_problems(self.encoder_embed_dim, counts)
        if not self.extractor_conv_feature_layers:
            yield "extractor_conv_feature_layers: found no layer, expected at least one [channels, kernel, stride]"
        for index, layer in enumerate(self.extractor_conv_feature_layers):
            if min(layer) < 1:
                yield f"extractor_conv_feature_layers[{index}]: found {list(layer)}, expected three positive numbers"
        count = len(HUBERT_CONV_LAYERS)
        if len(self.thin_channels) != count or min(self.thin_channels) < 1:
            found = list(self.thin_channels)
            yield f"thin_channels: found {found}, expected {count} positive numbers, one for each convolution of HuBERT"

    @property
    def thin_conv_layers(self) -> tuple[tuple[int, int, int], ...]:
        """Channels, kernel and stride of each convolution of the front end `thin`."""
        kernels = ((kernel, stride) for _, kernel, stride in HUBERT_CONV_LAYERS)
        return tuple((channels, *shape) for channels, shape in zip(self.thin_channels, kernels, strict=True))


def _width_problems(width: int, counts: Mapping[str, int]) -> Iterator[str]:
    """One problem for all counts that do not divide the width, with the nearest width, and counts if some are near."""
    broken = {name: count for name, count in counts.items() if width % count}
    if not broken:
        return
    found = " and ".join(f"{name} {count}" for name, count in broken.items())
    whole = math.lcm(*counts.values())
    remedy = f"expected {max(1, (width + whole // 2) // whole) * whole}"
    near = {name: _near_divisor(width, count) for name, count in broken.items()}
    if all(near.values()):
        remedy += ", or " + " and ".join(f"{name} {count}" for name, count in near.items()) + f" for {width}"
    verb = "does" if len(broken) == 1 else "do"
    yield f"encoder_embed_dim: found {width}, which {found} {verb} not divide; {remedy}"


def _near_divisor(width: int, count: int) -> int | None:
    """The divisor of a width that is nearest to a count, between its half and its double; None if there is none."""
    if count > 4096:  # no width of a student needs more
        return None
    found = [number for number in range(max(1, count // 2), 2 * count + 1) if width % number == 0]
    return min(found, key=lambda number: abs(number - count), default=None)


@dataclass(frozen=True)
class TeacherConfig:
    """Exactly one of `upstream` (a name in s3prl.hub, with an optional `checkpoint`) and `folder` (transformers)."""

    upstream: str | None = key(None, about="a name in s3prl.hub, such as hubert_base; null where folder is given")
    checkpoint: str | None = key(None, about="the file of an upstream whose name ends in _local")
    folder: str | None = key(None, about="in place of upstream: a transformers folder with HuBERT or WavLM weights")
    precision: str = key(
        "auto", choices=PRECISIONS, about="in training; auto: bfloat16 where a GPU has it, else float32"
    )

    def problems(self) -> Iterator[str]:
        if (self.upstream is None) == (self.folder is None):
            found = "neither" if self.upstream is None else "both"
            yield f"upstream: found {found} of upstream and folder, expected one: an s3prl upstream or a local folder"
        if self.checkpoint is not None and self.upstream is None:
            yield "checkpoint: found without upstream; a transformers folder holds its own weights"


@dataclass(frozen=True)
class WarmStartConfig:
    """Parts of the teacher that are copied into the student before training."""

    layers_off: ClassVar[str] = ""  # the setting with which no transformer layer is copied, for messages

    front_end: bool = key(True, about="copy the CNN and the projection")
    position: bool = key(True, about="copy the positional convolution")

    def copied_layers(self, student: Any) -> tuple[int, ...]:
        """Teacher layers that are copied into a student of the section `student`."""
        return ()

    def layer_problems(self, student: Any, num_layers: int) -> Iterator[str]:
        """Problems of `copied_layers` of a teacher with `num_layers` layers."""
        yield from ()

    def options(self, student: Any) -> dict[str, Any]:
        """Keywords of the function `warm_start` of the kind of student."""
        return dataclasses.asdict(self)


@dataclass(frozen=True)
class ModelConfig:
    """Base of the model YAMLs of all kinds of students."""

    teacher: TeacherConfig = key(about="the model that is distilled")
    student: BackboneConfig = key(factory=BackboneConfig, about="layout of the student")
    distill: TargetsConfig = key(factory=TargetsConfig, about="what the student is trained on")
    warm_start: WarmStartConfig = key(
        factory=WarmStartConfig, about="parts of the teacher that the student starts from"
    )
    objectives: tuple[ObjectiveConfig, ...] = key(
        (LayerwiseConfig(),), variants=ENTRY, about="terms of the loss, each with its weight"
    )

    def problems(self) -> Iterator[str]:
        front_end = self.student.front_end
        if self.warm_start.front_end and FRONT_ENDS[front_end].copies == "nothing":
            yield (
                f"warm_start.front_end: found true with student.front_end {front_end}, expected false; the teacher's "
                "convolutions have no place in it"
            )
        if self.distill.share_front_end:
            yield from self._sharing_problems()
        names = [objective.name for objective in self.objectives]
        if not names:
            yield "objectives: found an empty list, expected at least one objective"
        for name in sorted({name for name in names if names.count(name) > 1}):
            yield f"objectives: {name} is listed {names.count(name)} times, expected once"
        for index, objective in enumerate(self.objectives):
            others = (*self.objectives[:index], *self.objectives[index + 1 :])
            yield from objective.combination_problems(others, self.distill)

    def _sharing_problems(self) -> Iterator[str]:
        """Keys with which the student's CNN is no frozen copy of the teacher's, or computes something else."""
        student, shared = self.student, "with distill.share_front_end"
        if student.front_end != STOCK:
            yield (
                f"distill.share_front_end: found true with student.front_end {student.front_end}, expected false; only "
                f"a student with front_end {STOCK} can have the teacher's CNN"
            )
            return
        if not self.warm_start.front_end:
            yield f"warm_start.front_end: found false {shared}, expected true; the student's CNN is the teacher's"
        for name, reason in (
            ("feature_grad_mult", "the CNN is frozen"),
            ("extractor_dropout", "the teacher's features have no dropout"),
        ):
            if found := getattr(student, name):
                yield f"student.{name}: found {found:g} {shared}, expected 0; {reason}"

    def num_states(self, steps: int | None) -> int:
        """Number of hidden states after `steps` generated layers (None: all); the last are the N predictions."""
        return 1 + (steps or len(self.distill.target_layers))

    def description(self) -> str:
        """One sentence for a model card."""
        return f"A student of {self.teacher_name}, trained on layers {self.target_names} ({self.shape})."

    @property
    def teacher_name(self) -> str | None:
        return self.teacher.upstream or self.teacher.folder

    @property
    def target_names(self) -> str:
        return ", ".join(map(str, self.distill.target_layers))

    @property
    def shape(self) -> str:
        """Width, feed-forward width and heads, in words."""
        width, heads = self.student.encoder_embed_dim, self.student.encoder_attention_heads
        return f"width {width}, feed-forward {self.student.encoder_ffn_embed_dim}, {heads} heads"

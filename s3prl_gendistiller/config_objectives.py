"""Targets of training: the teacher's layers, and the list `objectives` of a model YAML.

The key `name` of an entry selects the objective. A new objective is one module in `distill/objectives/`, its
configuration here, and one row of `OBJECTIVES`. Objectives of other packages come from `installed_objectives`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

from s3prl_gendistiller.installed_objectives import ObjectiveTable
from s3prl_gendistiller.schema import Variants, key

FRONT_END_LAYERS = (0,)
"""The frames that enter the first layer, in s3prl's counting; `front_end_steps` train the front end to give these."""


PRECISIONS = ("auto", "float32", "bfloat16", "float16")


@dataclass(frozen=True)
class TargetsConfig:
    """Teacher layers that are distilled, in s3prl's counting (n = output of transformer layer n)."""

    target_layers: tuple[int, ...] = key(
        (4, 8, 12), about="layers of the teacher that the student predicts; 1 is the first transformer layer"
    )
    front_end_steps: int = key(
        0,
        low=0,
        about="first steps, which train the front end alone to give the frames that enter the teacher's layer 1",
    )
    precision: str = key(
        "auto", choices=PRECISIONS, about="of the student in training; auto: bfloat16 where a GPU has it, else float32"
    )
    share_front_end: bool = key(
        False, about="the student's CNN is a frozen copy of the teacher's, and one pass in training serves both"
    )
    compile: bool = key(False, about="torch.compile of teacher and student in training; the first steps take longer")

    @property
    def feeds_teacher_back(self) -> bool:
        """Whether the student gets teacher layers as history while it trains."""
        return False

    @property
    def random_depth(self) -> bool:
        """Whether each training batch stops after a random number of layers."""
        return False

    def teacher_probability(self, step: int) -> float:
        """Probability that a teacher layer replaces a generated layer as history at training step `step`."""
        return 0.0

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
class ObjectiveConfig:
    """Base of all objectives' configurations.

    Attributes:
        module: the module that builds the objective, relative to this package or absolute. It is imported when an
            objective is built, because it needs torch; `distill.objectives` describes the functions of that module.
        compares_layers: the student's layers are compared with the teacher's layers channel by channel, so student and
            teacher have one width, or the objective has `projections`.
        files: keys that hold paths of files.
    """

    module: ClassVar[str]
    compares_layers: ClassVar[bool] = False
    files: ClassVar[tuple[str, ...]] = ()

    name: str = key(about="the objective")
    weight: float = key(1.0, above=0.0, about="factor of the objective in the loss")

    def combination_problems(self, others: Sequence[ObjectiveConfig], distill: TargetsConfig) -> Iterator[str]:
        """Problems of this objective beside the other objectives of the list, and with these targets."""
        yield from ()

    def projections(self, target_layers: Sequence[int]) -> tuple[str, ...]:
        """Names of the linear maps from the student's width to the teacher's, which exist where the two differ."""
        return ()

    def width_problems(self, width: int, teacher_width: int) -> Iterator[str]:
        """Problems of this objective with a student of another width than its teacher's."""
        if self.compares_layers and not self.projections((1,)):
            yield (
                f"student.encoder_embed_dim: found {width}, expected {teacher_width} ({self.name} compares channel by "
                "channel)"
            )


@dataclass(frozen=True)
class LayerwiseConfig(ObjectiveConfig):
    """L1 + cosine_weight * (-log sigmoid(cosine)) per target layer (arXiv 2110.01900, equation 1)."""

    module: ClassVar[str] = ".distill.objectives.layerwise"
    compares_layers: ClassVar[bool] = True

    name: str = key("layerwise", choices=("layerwise",))
    cosine_weight: float = key(1.0, low=0.0, about="factor of the cosine term beside the L1 term")
    projection: str = key(
        "layer",
        choices=("layer", "shared"),
        about="map to a teacher of another width: one for each target layer (layer), or one for all (shared)",
    )

    def projections(self, target_layers: Sequence[int]) -> tuple[str, ...]:
        return ("shared",) if self.projection == "shared" else tuple(f"layer{layer}" for layer in target_layers)


@dataclass(frozen=True)
class CkdConfig(ObjectiveConfig):
    """Contextual knowledge distillation (arXiv 2109.08359): relations between frames and between layers.

    A term with weight 0 is not computed.
    """

    module: ClassVar[str] = ".distill.objectives.ckd"

    name: str = key("ckd", choices=("ckd",))
    word_pair: float = key(1.0, low=0.0, about="weight of the cosines of all pairs of frames of a layer")
    word_angle: float = key(10.0, low=0.0, about="weight of the angles at each frame between the frames of its window")
    layer_pair: float = key(1.0, low=0.0, about="weight of the cosines of all pairs of layers of a frame")
    layer_angle: float = key(10.0, low=0.0, about="weight of the angles at each layer between the other layers")
    window: int = key(10, low=1, about="frames of the window to each side")
    dilation: int = key(1, low=1, about="distance between two frames of the window, in frames of 20 ms")
    relation_temperature: float = key(1.0, above=0.0, about="temperature of the softmax over cosines")
    reduction: str = key(
        "pairs", choices=("pairs", "rows"), about="count by which the sums of the pair terms are divided"
    )
    floor: float = key(1e-6, above=0.0, high=1e-2, about="added to squared distances, relative to their mean")

    def problems(self) -> Iterator[str]:
        if not (self.relates_words or self.relates_layers):
            yield "word_pair: found 0 for all four terms of ckd, expected at least one above 0"

    @property
    def relates_layers(self) -> bool:
        return self.layer_pair > 0.0 or self.layer_angle > 0.0

    @property
    def relates_words(self) -> bool:
        return self.word_pair > 0.0 or self.word_angle > 0.0

    def combination_problems(self, others: Sequence[ObjectiveConfig], distill: TargetsConfig) -> Iterator[str]:
        layers = len(distill.target_layers)
        if self.relates_layers and layers < 3:
            yield (
                f"objectives: found ckd with layer_pair or layer_angle on {layers} target layers, expected at least 3: "
                "two layers have no relation that could differ; set both weights to 0 or add target layers"
            )
        if any(other.compares_layers for other in others):
            return
        if distill.feeds_teacher_back:
            yield (
                "objectives: found ckd alone with the teacher's layers fed back, expected layerwise beside it or "
                "distill.feedback: free_running; a rotation of a layer does not change the loss of ckd, so the "
                "student's layers may be rotated, and the teacher's layers that are fed back are not"
            )
        if not (self.relates_layers and self.relates_words):
            yield (
                "objectives: found ckd alone with its word or its layer terms off, expected both on, or layerwise "
                "beside it; word terms alone relate no layers, and layer terms alone relate no frames"
            )


@dataclass(frozen=True)
class GlmdConfig(ObjectiveConfig):
    """Unit prediction distillation, stage 1 of GLMD (arXiv 2306.06625): no hidden layer, no label."""

    module: ClassVar[str] = ".distill.objectives.glmd"
    files: ClassVar[tuple[str, ...]] = ("units",)

    name: str = key("glmd", choices=("glmd",))
    units: str | None = key(None, about="file of `gendistiller units`: the teacher's units and those that are kept")
    # at 15 nearly the mean squared difference of centred logits
    temperature: float = key(15.0, above=0.0, about="temperature of both softmaxes over units")
    remap: str = key("restrict", choices=("restrict", "tied", "fold"), about="treatment of the units that are not kept")
    head_init: str = key("random", choices=("random", "teacher"), about="start of the student's head for units")

    def problems(self) -> Iterator[str]:
        if self.units is None:
            yield "units: missing; make the file with `gendistiller units` and name it here"

    def width_problems(self, width: int, teacher_width: int) -> Iterator[str]:
        if self.head_init == "teacher":
            yield (
                f"objectives: glmd: head_init: found teacher, expected random; the teacher's unit head reads "
                f"{teacher_width} channels, the student has {width}"
            )

    def combination_problems(self, others: Sequence[ObjectiveConfig], distill: TargetsConfig) -> Iterator[str]:
        if distill.feeds_teacher_back:
            yield (
                "objectives: found glmd with the teacher's layers fed back, expected distill.feedback: free_running; "
                "units are predicted from the last layer, and the teacher's layers before it already determine them"
            )
        if distill.random_depth and not others:
            yield (
                "objectives: found glmd alone with distill.random_depth, expected layerwise or ckd beside it, or "
                "random_depth: false; units are compared on the last layer, so a batch that stops before the last "
                "layer has no loss"
            )


@dataclass(frozen=True)
class LayerUnitsConfig(ObjectiveConfig):
    """Cross entropy of the teacher's units on every predicted layer, each with a head of its own."""

    module: ClassVar[str] = ".distill.objectives.layer_units"
    files: ClassVar[tuple[str, ...]] = ("units",)

    name: str = key("layer_units", choices=("layer_units",))
    units: str | None = key(
        None, about="folder of `gendistiller units --layer N ...` for all target layers: layerN.safetensors for each"
    )

    def problems(self) -> Iterator[str]:
        if self.units is None:
            yield "units: missing; make the folder with `gendistiller units --layer N ...` and name it here"


OBJECTIVES = ObjectiveTable(
    ObjectiveConfig,
    {
        "layerwise": LayerwiseConfig,
        "ckd": CkdConfig,
        "glmd": GlmdConfig,
        "layer_units": LayerUnitsConfig,
    },
)
"""Every objective by its name, installed ones too. An entry of a YAML without a name is the first."""
ENTRY = Variants(by="name", of=OBJECTIVES, default=next(iter(OBJECTIVES)))

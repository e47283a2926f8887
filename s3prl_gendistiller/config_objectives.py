"""What a student is asked to match: the entries of the list `objectives` of a model YAML, each known by its `name`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from s3prl_gendistiller.schema import key


@dataclass(frozen=True)
class LayerwiseConfig:
    """L1 + cosine_weight * (-log sigmoid(cosine)) per target layer (arXiv 2110.01900, equation 1)."""

    name: str = key("layerwise", choices=("layerwise",))
    weight: float = key(1.0, above=0.0)
    cosine_weight: float = key(1.0, low=0.0)


@dataclass(frozen=True)
class CkdConfig:
    """Contextual knowledge distillation (arXiv 2109.08359): relations between frames and between layers.

    A term with weight 0 is not computed.
    """

    name: str = key("ckd", choices=("ckd",))
    weight: float = key(1.0, above=0.0)
    word_pair: float = key(1.0, low=0.0)  # cosines of all pairs of frames of a layer, as rows of a softmax
    word_angle: float = key(10.0, low=0.0)  # angles at each frame between the frames of its window
    layer_pair: float = key(1.0, low=0.0)  # the same between the layers of a frame
    layer_angle: float = key(10.0, low=0.0)
    window: int = key(10, low=1)  # frames to each side
    dilation: int = key(1, low=1)  # every so many frames of 20 ms
    relation_temperature: float = key(1.0, above=0.0)  # of the softmax over cosines
    reduction: str = key("pairs", choices=("pairs", "rows"))  # what the sums of the pair terms are divided by
    floor: float = key(1e-6, above=0.0, high=1e-2)  # added to squared distances, relative to their mean

    def problems(self) -> Iterator[str]:
        if not any((self.word_pair, self.word_angle, self.layer_pair, self.layer_angle)):
            yield "word_pair: found 0 for all four terms of ckd, expected at least one above 0"

    @property
    def relates_layers(self) -> bool:
        return self.layer_pair > 0.0 or self.layer_angle > 0.0

    @property
    def relates_words(self) -> bool:
        return self.word_pair > 0.0 or self.word_angle > 0.0


@dataclass(frozen=True)
class GlmdConfig:
    """Unit prediction distillation, stage 1 of GLMD (arXiv 2306.06625): no hidden layer, no label."""

    name: str = key("glmd", choices=("glmd",))
    weight: float = key(1.0, above=0.0)
    units: str | None = None  # the teacher's units and the kept vocabulary: a file of `gendistiller units`
    temperature: float = key(15.0, above=0.0)  # at 15 nearly the mean squared difference of centred logits
    remap: str = key("restrict", choices=("restrict", "tied", "fold"))  # what becomes of the units that are not kept
    head_init: str = key("random", choices=("random", "teacher"))  # of the student's own head

    def problems(self) -> Iterator[str]:
        if self.units is None:
            yield "units: missing; make the file with `gendistiller units` and name it here"


ObjectiveConfig = LayerwiseConfig | CkdConfig | GlmdConfig


def objective_problems(
    objectives: Sequence[ObjectiveConfig],
    target_layers: Sequence[int],
    *,
    feeds_teacher_back: bool,
    random_depth: bool = False,
) -> Iterator[str]:
    """What is wrong with a list of objectives, and with its combination with the rest.

    Args:
        feeds_teacher_back: the student sees the teacher's layers while it trains.
        random_depth: a batch may stop before the last layer.
    """
    names = [objective.name for objective in objectives]
    if not names:
        yield "objectives: found an empty list, expected at least one objective"
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield f"objectives: {name} is listed {names.count(name)} times, expected once"
    if "glmd" in names and feeds_teacher_back:
        yield (
            "objectives: found glmd with the teacher's layers fed back, expected distill.feedback: free_running; a "
            "last layer that has just been handed the teacher's has nothing to learn from its units"
        )
    if set(names) == {"glmd"} and random_depth:
        yield (
            "objectives: found glmd alone with distill.random_depth, expected layerwise or ckd beside it, or "
            "random_depth: false; units are compared on the last layer, and a batch that stops before it learns nothing"
        )
    for objective in objectives:
        if not isinstance(objective, CkdConfig):
            continue
        if objective.relates_layers and len(target_layers) < 3:
            yield (
                f"objectives: found ckd with layer_pair or layer_angle on {len(target_layers)} target layers, expected "
                "at least 3: two layers have no relation that could differ; set both weights to 0 or add target layers"
            )
        alone = "layerwise" not in names
        if alone and feeds_teacher_back:
            yield (
                "objectives: found ckd alone with the teacher's layers fed back, expected layerwise beside it or "
                "distill.feedback: free_running; relations leave each layer free to turn, and a turned layer is not "
                "what the teacher feeds back"
            )
        if alone and not (objective.relates_layers and objective.relates_words):
            yield (
                "objectives: found ckd alone with its word or its layer terms off, expected both on, or layerwise "
                "beside it; either half alone leaves the layers, or the frames, unrelated to each other"
            )

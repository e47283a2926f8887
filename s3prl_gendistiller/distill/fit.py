"""Check that a student's configuration and a teacher fit together; all differences are reported at once."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from typing import Any

from s3prl_gendistiller.config import ModelConfig
from s3prl_gendistiller.config_objectives import FRONT_END_LAYERS, LayerwiseConfig
from s3prl_gendistiller.distill.projection import count_parameters
from s3prl_gendistiller.distill.teacher import EncoderLayout
from s3prl_gendistiller.errors import ConfigError
from s3prl_gendistiller.front_ends import FRONT_ENDS


def check_fit(
    config: ModelConfig,
    teacher: str,
    num_layers: int,
    width: int,
    layout: EncoderLayout | None,
    *,
    warm_start: bool = True,
) -> None:
    """Refuses configurations that would fail later, and those whose copied layers would compute something else.

    Args:
        config: the student's configuration.
        teacher: the teacher's name, for the message.
        num_layers, width: number of layers and width of the teacher.
        layout: the teacher's layout; None if it is unknown.
        warm_start: whether weights are copied from the teacher; False if the training of the student continues.

    Raises:
        ConfigError: one line for each key.
    """
    problems = list(_target_problems(config, num_layers, width))
    if layout is not None and layout.convolutions is not None:
        front_end = FRONT_ENDS[config.student.front_end]
        fixed = front_end.frame_samples
        key = "extractor_conv_feature_layers" if fixed is None else "front_end"
        both = (config.student.extractor_conv_feature_layers, layout.convolutions)
        ours, theirs = (math.prod(stride for _, _, stride in convolutions) for convolutions in both)
        ours = ours if fixed is None else fixed
        compared = warm_start and config.warm_start.front_end and front_end.copies == "all"  # with all their sizes
        if ours != theirs and not compared:
            problems.append(
                f"student.{key}: found a frame every {ours} samples, expected {theirs}; the "
                "two are compared frame by frame"
            )
    if warm_start:
        problems += _warm_start_problems(config, num_layers, width, layout)
    normalized = layout is not None and layout.normalize
    if config.distill.share_front_end and normalized and not hasattr(config.student, "normalize"):
        problems.append(
            "distill.share_front_end: found true, expected false; the teacher normalises its input, and s3prl's "
            "DistillerModel, which is this student, does not"
        )
    if problems:
        raise ConfigError(f"student and teacher {teacher} do not fit", list(dict.fromkeys(problems)))


def other_width(config: ModelConfig, width: int) -> list[str]:
    """What a student of another width than its teacher gets and lacks, one line each; empty for equal widths.

    Args:
        width: D_t, the teacher's width.
    """
    wanted = config.warm_start
    copies = wanted.front_end and FRONT_ENDS[config.student.front_end].copies != "nothing"
    lines = projections(config, width)
    if config.student.encoder_embed_dim != width and (
        copies or wanted.position or wanted.copied_layers(config.student)
    ):
        found = "the teacher's convolutions alone" if copies else "nothing"
        lines.append(f"warm_start: copies {found}; the other parts depend on the width and begin with random weights")
    return lines


def projections(config: ModelConfig, width: int) -> list[str]:
    """The projections of a student to its teacher's width D_t, one line each; empty for equal widths."""
    own = config.student.encoder_embed_dim
    if own == width:
        return []
    lines = []
    layers = config.distill.target_layers
    named = {objective.name: objective.projections(layers) for objective in config.objectives}
    if config.distill.front_end_steps:
        named["distill.front_end_steps"] = LayerwiseConfig().projections(FRONT_END_LAYERS)
    for name, maps in named.items():
        if maps:
            kind = f"{len(maps)} projections" if len(maps) > 1 else "one projection"
            count = count_parameters(maps, own, width)
            lines.append(
                f"{name}: {kind} from the student's {own} channels to the teacher's {width}, {count:,} parameters; "
                "trained with the student and dropped in use"
            )
    return lines


def _target_problems(config: ModelConfig, num_layers: int, width: int) -> Iterator[str]:
    wrong = [layer for layer in config.distill.target_layers if layer > num_layers]
    if wrong:
        found = ", ".join(map(str, wrong))
        yield f"distill.target_layers: found {found}, expected 1..{num_layers} (the teacher has {num_layers} layers)"
    own = config.student.encoder_embed_dim
    if own == width:
        return
    for objective in config.objectives:
        yield from objective.width_problems(own, width)
    if config.distill.feeds_teacher_back:
        yield (
            "distill.feedback: found the teacher's layers fed back, expected free_running; those layers are "
            f"{width} wide and would take the place of generated layers, which are {own} wide"
        )


def _warm_start_problems(
    config: ModelConfig, num_layers: int, width: int, layout: EncoderLayout | None
) -> Iterator[str]:
    wanted, keys = config.warm_start, {key.name for key in dataclasses.fields(config.student)}
    off = {part: f"warm_start.{part}: false" for part in ("front_end", "position")}
    off["layer"] = f"warm_start.{wanted.layers_off}"
    given = {"front_end": wanted.front_end, "position": wanted.position, "layer": wanted.copied_layers(config.student)}
    copied = [part for part in given if given[part]]
    if config.student.encoder_embed_dim == width:
        yield from wanted.layer_problems(config.student, num_layers)
    else:  # the warm start leaves the other parts random, so nothing of them is compared
        copied = [part for part in copied if part == "front_end"]
    if layout is None:
        return
    thin = FRONT_ENDS[config.student.front_end].copies == "channels"
    if thin and wanted.front_end and layout.convolutions is not None:
        yield from _thin_problems(config, layout.convolutions)
    rows: dict[str, dict[str, Any]] = {
        "front_end": {
            "extractor_mode": layout.extractor_mode,
            "extractor_conv_feature_layers": None if thin else layout.convolutions,
            "normalize": layout.normalize,
            # a norm that only the teacher has is left out, and logged
            "feature_norm": False if layout.feature_norm is False else None,
        },
        "position": {
            # a shorter convolution takes the taps in the middle of the teacher's
            "conv_pos": layout.conv_pos and min(layout.conv_pos, config.student.conv_pos),
            "conv_pos_groups": layout.conv_pos_groups,
        },
        "layer": {
            "encoder_ffn_embed_dim": layout.ffn,
            "encoder_attention_heads": layout.heads,
            "layer_norm_first": layout.norm_first,
            "activation_fn": layout.activation,
        },
    }
    for part in copied:
        for key, expected in rows[part].items():
            if expected is not None and key in keys:
                yield from _differs(key, config, expected, f"or {off[part]}")
    if layout.position_norm and "position" in copied:
        yield (
            "warm_start.position: found true, expected false; the teacher's positional convolution has a batch norm, "
            "which the student lacks"
        )


def _thin_problems(config: ModelConfig, theirs: tuple[tuple[int, int, int], ...]) -> Iterator[str]:
    """A front end with some of the teacher's channels needs the teacher's kernels and strides, and no more channels."""
    ours = config.student.thin_conv_layers
    shapes, expected = ([list(shape) for _, *shape in layers] for layers in (ours, theirs))
    if shapes != expected:
        yield (
            f"warm_start.front_end: found true with student.front_end {config.student.front_end}, expected false; the "
            f"teacher's kernels and strides are {expected}, those of this front end {shapes}"
        )
    elif any(count > total for (count, _, _), (total, _, _) in zip(ours, theirs, strict=True)):
        found, most = config.student.thin_channels, [channels for channels, _, _ in theirs]
        yield (
            f"student.thin_channels: found {list(found)}, expected at most {most}, the teacher's channels (or "
            "warm_start.front_end: false)"
        )


def _differs(key: str, config: ModelConfig, expected: Any, remark: str) -> Iterator[str]:
    found = getattr(config.student, key)
    if found != expected:
        yield f"student.{key}: found {_shown(found)}, expected {_shown(expected)} ({remark})"


def _shown(value: Any) -> str:
    """The value as YAML writes it."""
    if isinstance(value, tuple):
        return str([list(item) if isinstance(item, tuple) else item for item in value])
    return str(value).lower() if isinstance(value, bool) else str(value)

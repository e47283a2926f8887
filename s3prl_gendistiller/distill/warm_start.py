"""Warm start: front end, position and layers of a student are copied from the teacher.

The weights of a teacher have fairseq's names (s3prl's own HuBERT, WavLM, wav2vec 2.0) or transformers' names. Both are
translated into the names of `models.gendistiller`, with ``layers.N.`` for transformer layer N + 1. The weights of
s3prl's DistillerModel have fairseq's names, too, so the same table translates the baseline's. A student with the front
end `thin` takes the teacher's most important channels (`distill.channels`). A shorter positional convolution takes the
taps in the middle of the teacher's. A student of another width takes the convolutions and the norms behind them; the
shapes of all other parts depend on the width.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from s3prl_gendistiller.distill.channels import PROJECTION, choose_channels, slice_channels
from s3prl_gendistiller.distill.weights import current_name
from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.models.thin import ThinFrontEnd

NAMES: dict[str, tuple[tuple[str, str], ...]] = {
    "fairseq": (
        (r"^feature_extractor\.conv_layers\.(\d+)\.0\.", r"front_end.layers.\1.conv."),
        (r"^feature_extractor\.conv_layers\.(\d+)\.2\.(?:1\.)?", r"front_end.layers.\1.norm."),
        (r"^feature_extractor\.layers\.", "front_end.layers."),  # our front end in a DistilHuBERT
        (r"^layer_norm\.", "feature_norm."),
        (r"^post_extract_proj\.norm\.", "feature_norm."),  # the norm of a DistilHuBERT with feature_norm
        (r"^post_extract_proj\.", "feature_projection."),
        (r"^encoder\.pos_conv\.0\.", "position.conv."),
        (r"^encoder\.layer_norm\.", "encoder_norm."),
        (r"^encoder\.layers\.0\.self_attn\.relative_attention_bias\.", "position_bias.relative_embedding."),
        (r"^encoder\.layers\.(\d+)\.self_attn\.grep_linear\.", r"layers.\1.attention.position_bias.gate."),
        (r"^encoder\.layers\.(\d+)\.self_attn\.grep_a$", r"layers.\1.attention.position_bias.gate_scale"),
        (r"^encoder\.layers\.(\d+)\.self_attn\.", r"layers.\1.attention."),
        (r"^encoder\.layers\.(\d+)\.self_attn_layer_norm\.", r"layers.\1.attention_norm."),
        (r"^encoder\.layers\.(\d+)\.fc1\.", r"layers.\1.ffn_in."),
        (r"^encoder\.layers\.(\d+)\.fc2\.", r"layers.\1.ffn_out."),
        (r"^encoder\.layers\.(\d+)\.final_layer_norm\.", r"layers.\1.ffn_norm."),
    ),
    "transformers": (
        (r"^feature_extractor\.conv_layers\.(\d+)\.conv\.", r"front_end.layers.\1.conv."),
        (r"^feature_extractor\.conv_layers\.(\d+)\.layer_norm\.", r"front_end.layers.\1.norm."),
        (r"^feature_projection\.layer_norm\.", "feature_norm."),
        (r"^feature_projection\.projection\.", "feature_projection."),
        (r"^encoder\.pos_conv_embed\.conv\.", "position.conv."),
        (r"^encoder\.layer_norm\.", "encoder_norm."),
        (r"^encoder\.layers\.0\.attention\.rel_attn_embed\.", "position_bias.relative_embedding."),
        (r"^encoder\.layers\.(\d+)\.attention\.gru_rel_pos_linear\.", r"layers.\1.attention.position_bias.gate."),
        (r"^encoder\.layers\.(\d+)\.attention\.gru_rel_pos_const$", r"layers.\1.attention.position_bias.gate_scale"),
        (r"^encoder\.layers\.(\d+)\.attention\.", r"layers.\1.attention."),
        (r"^encoder\.layers\.(\d+)\.layer_norm\.", r"layers.\1.attention_norm."),
        (r"^encoder\.layers\.(\d+)\.feed_forward\.intermediate_dense\.", r"layers.\1.ffn_in."),
        (r"^encoder\.layers\.(\d+)\.feed_forward\.output_dense\.", r"layers.\1.ffn_out."),
        (r"^encoder\.layers\.(\d+)\.final_layer_norm\.", r"layers.\1.ffn_norm."),
    ),
}
FRONT_END = ("front_end.", "feature_norm.", "feature_projection.")
POSITION = ("position.", "encoder_norm.")
POSITION_BIAS = "position_bias."
OF_ANY_WIDTH = ("front_end.", "feature_norm.")  # the shapes of these parts do not depend on the width
WIDTH = "encoder_norm.weight"  # (D,), in every student and teacher
REASONS = {
    "feature_norm.": "the student has no norm before its projection (GenDistiller keeps it with feature_norm: true)",
    POSITION_BIAS: "the student has no relative position (GenDistiller keeps it with position_bias: gated)",
    ".conv.bias": "the student's convolutions have no bias",
}

Weights = dict[str, tuple[str, Tensor]]  # by our name: the teacher's own name and value


@dataclass(frozen=True)
class WarmStartReport:
    """The result of a warm start."""

    copied: tuple[str, ...]  # names of the student's weights that were copied
    left_out: tuple[tuple[str, str], ...]  # the teacher's weights that the student does not have, with reasons
    untouched: tuple[
        str, ...
    ]  # the student's weights that the teacher lacks although they were requested; their values are random
    kept: tuple[tuple[int, int], ...] = ()  # of each convolution of the front end `thin`: channels kept, teacher's
    widths: tuple[int, int] | None = None  # those of student and teacher, where they differ
    random: tuple[str, ...] = ()  # requested parts that depend on the width, and stay random where widths differ

    def summary(self) -> str:
        """Text for the log: the number of copied weights, and all weights that were not copied."""
        lines = [f"copied {len(self.copied)} weights ({', '.join(_parts(self.copied)) or 'nothing'})"]
        if self.kept:
            kept = ", ".join(f"{count} of {total}" for count, total in self.kept)
            lines.append(f"kept {kept} channels of the {len(self.kept)} convolutions, the most important ones")
        for reason in dict.fromkeys(reason for _, reason in self.left_out):
            names = [name for name, why in self.left_out if why == reason]
            lines.append(f"left out {', '.join(_parts(names))}: {reason}")
        if self.widths:
            own, theirs = self.widths
            named = ", ".join(self.random) or "nothing"
            lines.append(f"still random, because the student is {own} wide and the teacher {theirs}: {named}")
        if self.untouched:
            lines.append(f"not in the teacher, still random: {', '.join(_parts(self.untouched))}")
        return "\n  ".join(lines)


def translate(state: Mapping[str, Tensor], naming: str) -> Weights:
    """A teacher's weights under our names; weights outside the encoder keep their own names."""
    return {_translate(name, naming): (name, value) for name, value in state.items()}


def warm_start(
    student: nn.Module,
    teacher_state: Mapping[str, Tensor],
    naming: str,
    *,
    front_end: bool,
    position: bool,
    layer: int | None,
) -> WarmStartReport:
    """Copies parts of a teacher into a GenDistiller; after an error, the student is unchanged.

    A student of another width takes only the convolutions and the norm behind them; the report names all other parts.

    Args:
        student: a `GenDistiller`.
        teacher_state: `Teacher.encoder_state()`, with the names of `naming` ("fairseq" or "transformers").
        front_end: CNN, its norms, and the projection; of the front end `thin`, the most important channels.
        position: positional convolution and the LayerNorm after it.
        layer: number of the transformer layer that becomes the shared layer, from 1; None for none.

    Raises:
        UserError: a shape differs, the teacher has no such layer, or its CNN has other parts.
    """
    teacher = translate(teacher_state, naming)
    source = f"layers.{(layer or 1) - 1}."
    renamed = {name.replace(source, "layer.", 1): weight for name, weight in teacher.items() if name.startswith(source)}
    shared = {f"layer.attention.{name}": weight for name, weight in teacher.items() if name.startswith(POSITION_BIAS)}
    if layer is not None and not renamed and _widths(student, teacher) is None:
        raise UserError(f"warm_start.layer: found {layer}, expected 1..{_num_layers(teacher)}, the teacher's layers")
    wanted = _sections(front_end, position) + (("layer.",) if layer is not None else ())
    targets = {name: name for name in student.state_dict() if name.startswith(wanted)}
    return _copy(student, targets, {**teacher, **renamed, **shared}, wanted)


def warm_start_distiller(
    distiller: nn.Module,
    teacher_state: Mapping[str, Tensor],
    naming: str,
    *,
    front_end: bool,
    position: bool,
    layers: int,
    norms: bool = False,
) -> WarmStartReport:
    """Copies parts of a teacher into s3prl's `DistillerModel`, as the stock recipe does; the rest as `warm_start`.

    The recipe copies CNN, projection, positional convolution and the first layers. It copies neither the LayerNorm
    after the positional convolution nor the LayerNorm before the projection, which DistilHuBERT lacks.

    Args:
        layers: number of the teacher's first layers that are copied.
        norms: copy the LayerNorm after the positional convolution, too.
    """
    teacher = translate(teacher_state, naming)
    if layers > _num_layers(teacher) and _widths(distiller, teacher) is None:
        raise UserError(f"warm_start.layers: the student has {layers} layers, the teacher only {_num_layers(teacher)}")
    wanted = _sections(front_end, position)
    wanted = tuple(part for part in wanted if norms or part != "encoder_norm.")
    wanted += tuple(f"layers.{index}." for index in range(layers)) + ((POSITION_BIAS,) if layers else ())
    names = {_translate(name, "fairseq"): name for name in distiller.state_dict()}
    return _copy(distiller, {ours: name for ours, name in names.items() if ours.startswith(wanted)}, teacher, wanted)


def _copy(student: nn.Module, targets: Mapping[str, str], teacher: Weights, wanted: tuple[str, ...]) -> WarmStartReport:
    """Copies the `wanted` parts, or those of any width where the widths of the two networks differ."""
    widths = _widths(student, teacher)
    if widths is None:
        return _copy_parts(student, targets, teacher, wanted)
    free = {ours: name for ours, name in targets.items() if ours.startswith(OF_ANY_WIDTH)}
    report = _copy_parts(student, free, teacher, tuple(part for part in wanted if part in OF_ANY_WIDTH))
    rest = targets.keys() - free.keys()
    random = tuple(part.rstrip(".") for part in wanted if any(ours.startswith(part) for ours in rest))
    return dataclasses.replace(report, widths=widths, random=random)


def _copy_parts(
    student: nn.Module, targets: Mapping[str, str], teacher: Weights, wanted: tuple[str, ...]
) -> WarmStartReport:
    """Copies ``teacher[ours]`` into the student's weight ``targets[ours]``."""
    own = student.state_dict()  # shares its storage with the student
    kept: tuple[tuple[int, int], ...] = ()
    if any(isinstance(module, ThinFrontEnd) for module in student.modules()):
        teacher, kept = _with_kept_channels(own, targets, teacher)
    teacher = {**teacher, **_central_taps(own, targets, teacher)}
    missing = sorted(ours for ours in targets if ours not in teacher)
    broken = [ours for ours in missing if POSITION_BIAS not in ours]
    surplus = sorted(name for name in teacher if name.startswith(wanted) and name not in targets)
    homeless = [name for name in surplus if not any(part in name for part in REASONS)]
    if broken or homeless:
        first = teacher[homeless[0]][0] if homeless else ""
        found = f"the teacher lacks {targets[broken[0]]}" if broken else f"the student has no place for {first}"
        raise UserError(f"warm_start: {found}; expected both networks to be alike. {_remedy((broken or homeless)[0])}")
    for ours, name in targets.items():
        theirs, value = teacher.get(ours, ("", own[name]))
        if own[name].shape != value.shape:
            raise UserError(
                f"warm_start: the student's {name} is {tuple(own[name].shape)}, the teacher's {theirs} is "
                f"{tuple(value.shape)}; expected the same shape. Give the student the teacher's sizes, or turn off "
                "this part of warm_start (front_end, position: false; layer: null)"
            )
    copied = [ours for ours in targets if ours in teacher]
    with torch.no_grad():
        for ours in copied:
            own[targets[ours]].copy_(teacher[ours][1])
    left_out = tuple((teacher[name][0], next(why for part, why in REASONS.items() if part in name)) for name in surplus)
    return WarmStartReport(tuple(targets[ours] for ours in copied), left_out, tuple(missing), kept)


def _widths(student: nn.Module, teacher: Weights) -> tuple[int, int] | None:
    """The widths of student and teacher; None where they are equal."""
    own = next(value for name, value in student.state_dict().items() if _translate(name, "fairseq") == WIDTH)
    theirs = teacher[WIDTH][1] if WIDTH in teacher else own
    return None if len(own) == len(theirs) else (len(own), len(theirs))


def _with_kept_channels(
    own: Mapping[str, Tensor], targets: Mapping[str, str], teacher: Weights
) -> tuple[Weights, tuple[tuple[int, int], ...]]:
    """The teacher with as many channels as the student has, and the channels kept of each convolution's.

    A teacher that lacks a weight or has too few channels stays as it is, for the messages of `_copy`.
    """
    convolutions = [ours for ours in targets if re.fullmatch(r"front_end\.layers\.\d+\.conv\.weight", ours)]
    if not convolutions or not {*convolutions, PROJECTION} <= teacher.keys():
        return teacher, ()
    kept = tuple((len(own[targets[ours]]), len(teacher[ours][1])) for ours in convolutions)
    if any(count > total for count, total in kept):
        return teacher, ()
    values = {ours: value for ours, (_, value) in teacher.items() if ours.startswith(FRONT_END)}
    sliced = slice_channels(values, choose_channels(values, [count for count, _ in kept]))
    return {**teacher, **{ours: (teacher[ours][0], value) for ours, value in sliced.items()}}, kept


def _central_taps(own: Mapping[str, Tensor], targets: Mapping[str, str], teacher: Weights) -> Weights:
    """The middle of the teacher's positional convolution, where the student's kernel is shorter.

    Tap k of a kernel of K taps reads the frame k - K // 2 frames away. The weight norm has one gain for each tap, so
    the kept taps keep their weights.
    """
    found = {}
    for ours in targets:
        if not ours.startswith("position.conv.") or ours not in teacher:
            continue
        name, value = teacher[ours]
        taps, total = own[targets[ours]].shape[-1], value.shape[-1]
        if value.dim() == 3 and taps < total:
            found[ours] = name, value.narrow(-1, total // 2 - taps // 2, taps)
    return found


def _remedy(ours: str) -> str:
    """The advice for a part that only one of the two networks has."""
    if ours.startswith("feature_norm."):
        return "Set student.feature_norm: false, or turn off this part (warm_start.front_end: false)"
    if ours.startswith(POSITION):
        return "Turn off this part (warm_start.position: false)"
    if ours.startswith("front_end."):
        return (
            "Set student.extractor_mode and student.extractor_conv_feature_layers as the teacher has them, or turn off "
            "this part (warm_start.front_end: false)"
        )
    return "Turn off this part (warm_start.layer: null, or layers: false)"


def _sections(front_end: bool, position: bool) -> tuple[str, ...]:
    return (FRONT_END if front_end else ()) + (POSITION if position else ())


def _translate(name: str, naming: str) -> str:
    for pattern, replacement in NAMES[naming]:
        translated, count = re.subn(pattern, replacement, name)
        if count:
            return current_name(translated)
    return current_name(name)


def _num_layers(teacher: Weights) -> int:
    return 1 + max((int(name.split(".")[1]) for name in teacher if re.match(r"layers\.\d+\.", name)), default=-1)


def _parts(names: tuple[str, ...] | list[str]) -> list[str]:
    """Module names without repetition."""
    return list(dict.fromkeys(re.split(r"\.(?:weight|bias|parametrizations)", name)[0] for name in names))

"""Content of a checkpoint that a user passes to an upstream of s3prl, checked before s3prl loads it.

`upstream_files.check_file` calls `check_contents` for every command. The stand-ins of `shims.upstream_guards` enforce
the same rules inside s3prl, for every file that is loaded there; the message here names the flag and the file.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from s3prl_gendistiller.distill.weights import check_finite
from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.host.shims.upstream_guards import EXPECTED, kaldi_feature, literal

_SHAPES = re.compile(r".*(conv_feature_layers|conv_aggregator_layers|override_encoder_layers)")
CONVERTED = ("task_cfg", "model_cfg", "model_weight")  # keys of files that s3prl converted from fairseq
SYMBOLS = "dictionaries_symbols"


@dataclass(frozen=True)
class _Layout:
    """Keys of the entries that s3prl reads in checkpoints of a family of upstreams; a dot separates levels.

    `needed`: all keys that s3prl's expert reads; `settings`: key of the network's sizes, empty if they are not
    compared with the weights; `weights`: key of the state_dict.
    """

    needed: tuple[str, ...]
    settings: str = ""
    weights: str = ""

    def entries(self) -> list[str]:
        """Keys of the uppermost level."""
        return [key.partition(".")[0] for key in self.needed]


LAYOUTS = {
    "distiller": _Layout(("Config.distiller", "Distiller"), "Config.distiller", "Distiller"),
    **dict.fromkeys(("wavlm", "unispeech_sat"), _Layout(("cfg", "model"), "cfg", "model")),
    "mae_ast": _Layout(("cfg.model", "cfg.task", "model"), "cfg.model", "model"),
    **dict.fromkeys(("wav2vec", "wav2vec2", "vq_wav2vec", "data2vec"), _Layout(CONVERTED, "model_cfg", "model_weight")),
    **dict.fromkeys(("hubert", "multires_hubert"), _Layout((*CONVERTED, SYMBOLS), "model_cfg", "model_weight")),
    "lighthubert": _Layout(("cfg", "model")),
    **dict.fromkeys(("apc", "npc"), _Layout(("config", "model"))),
    **dict.fromkeys(("mockingjay", "tera", "audio_albert"), _Layout(("Config", "Transformer"))),
    **dict.fromkeys(("decoar", "decoar2", "decoar_layers"), _Layout(("model",))),
    "cpc": _Layout(("config", "weights")),
}
"""Layouts by family of upstreams."""


def check_contents(content: dict[str, Any], family: str, name: str, path: str | Path, label: str) -> None:
    """Refuses content that s3prl's upstream would run as code, fail on, or build for hours.

    Args:
        content: content of the checkpoint at `path`.
        family: the upstream's family, such as "hubert".
        name: the upstream's entry in s3prl.hub, such as hubert_local.
        label: flag or key that named the file, for the message.

    UserError: text that s3prl evaluates is no literal, a part is missing, sizes do not describe the weights, or a
    weight is not finite.
    """
    _check_texts(content, path, label)
    layout = LAYOUTS.get(family)
    if layout is not None and layout.settings:
        _check_parts(content, layout, name, path, label)


def _check_texts(content: object, path: str | Path, label: str) -> None:
    """Checks every text that s3prl evaluates, as an entry of a dictionary, a pair or an attribute."""
    for key, value in _entries(content):
        try:
            if _SHAPES.fullmatch(key) and value not in ("", None):
                literal(str(value))  # s3prl makes text of a list, too
            if key == "kaldi" and isinstance(value, Mapping) and "feat_type" in value:
                key, value = "feat_type", value["feat_type"]
                kaldi_feature(f"torchaudio.compliance.kaldi.{value}")
        except UserError as error:
            expected = "fbank, mfcc or spectrogram" if key == "feat_type" else EXPECTED
            raise UserError(
                f"{label}: {path} refused, its {key} is {str(value)[:80]!r}; expected {expected}. "
                "Use a checkpoint from a source that you trust"
            ) from error


def _entries(content: object) -> Iterator[tuple[str, Any]]:
    """Named values at any depth; a file may refer to itself."""
    waiting, seen = [content], set()
    while waiting:
        current = waiting.pop()
        if id(current) in seen:
            continue
        seen.add(id(current))
        if isinstance(current, argparse.Namespace):
            current = vars(current)
        if isinstance(current, Mapping):
            yield from ((str(key), value) for key, value in current.items())
            waiting += current.values()
        elif isinstance(current, list | tuple | set | frozenset):
            if len(current) == 2:
                key, value = current
                yield str(key) if isinstance(key, str) else "", value
            waiting += current


def _check_parts(content: dict[str, Any], layout: _Layout, name: str, path: str | Path, label: str) -> None:
    missing = [key for key in layout.needed if _part(content, key) is None]
    if missing:
        shown = ", ".join(map(str, list(content)[:8])) or "nothing"
        raise UserError(
            f"{label}: {path} holds {shown[:160]}, expected a checkpoint of {name} with {', '.join(layout.needed)}; "
            f"{', '.join(missing)} is missing"
        )
    settings, weights = _part(content, layout.settings), _part(content, layout.weights)
    for key, part in ((layout.settings, settings), (layout.weights, weights)):
        if not isinstance(part, dict) or not all(isinstance(each, str) for each in part):
            raise UserError(
                f"{label}: {path} holds {key} as a {type(part).__name__}, expected a dictionary with names, as s3prl "
                "writes it; use another file"
            )
    tensors = {each: value for each, value in weights.items() if isinstance(value, Tensor)}
    problems = list(_wrong_sizes(settings, tensors))
    if problems:
        raise UserError(
            f"{label}: {path} describes another network than its weights make: {'; '.join(problems[:5])}; use another "
            "file"
        )
    check_finite(tensors, f"{label}: {path}")


def _part(content: object, key: str) -> Any:
    for name in key.split("."):
        content = content.get(name) if isinstance(content, Mapping) else None
    return content


def _wrong_sizes(settings: Mapping[str, Any], weights: Mapping[str, Tensor]) -> Iterator[str]:
    """Settings that differ from the shapes of the weights, by fairseq's names.

    s3prl builds the network before it compares: one of ten thousand layers would take hours.
    """
    layers = {name.split(".")[2] for name in weights if name.startswith("encoder.layers.")}
    sizes: dict[str, int] = {"encoder_layers": len(layers)} if layers else {}
    for key, name, axis in (
        ("encoder_embed_dim", "encoder.layer_norm.weight", 0),
        ("encoder_ffn_embed_dim", "encoder.layers.0.fc1.weight", 0),
        ("conv_pos", "encoder.pos_conv.0.weight_v", 2),
    ):
        if name in weights and weights[name].dim() > axis:
            sizes[key] = weights[name].shape[axis]
    for key, expected in sizes.items():
        if key in settings and (type(settings[key]) is not int or settings[key] != expected):
            yield f"{key} is {str(settings[key])[:40]}, expected {expected}"
    shapes = next((value for key, value in settings.items() if key.endswith("conv_feature_layers")), None)
    if shapes is not None:
        evaluated = literal(str(shapes))
        evaluated = evaluated if isinstance(evaluated, list | tuple) else [evaluated]
        found = [tuple(shape[:2]) if isinstance(shape, list | tuple) else shape for shape in evaluated]
        first = "feature_extractor.conv_layers.{}.0.weight".format
        stored = [tuple(weights[first(index)].shape[::2]) for index in range(len(found)) if first(index) in weights]
        if stored and found != stored:
            yield f"the convolutions are {str(shapes)[:80]}, expected channels and kernels {stored}"

"""Safe stand-ins for calls of s3prl's upstreams that would run code from a user's checkpoint or YAML.

The upstreams evaluate text of the file (shapes of convolutions, the name of a feature), and three of their loaders
unpickle any object. `GUARDS` lists each such call and its stand-in: a parser of literals, a function of torchaudio
chosen by name, the reader of this package. The stand-ins also hold for a downloaded file, for one that changes between
check and use, and for settings in another form than s3prl's own.

The other calls of `eval` evaluate text of the source alone, such as ``eval("self.model.encoder.layers")``.
"""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.host.checkpoint import read_checkpoint
from s3prl_gendistiller.host.view import View

MAX_TEXT, MAX_ITEMS, MAX_NUMBER = 4_000, 256, 1 << 20
EXPECTED = "shapes alone, such as [(512,10,5)] + [(512,3,2)] * 4"
_KALDI = re.compile(r"torchaudio\.compliance\.kaldi\.(fbank|mfcc|spectrogram)")


def literal(text: object, *unused: object) -> Any:
    """The value of a list of numbers or of tuples of three, in which lists may be joined by ``+`` and ``* n``.

    UserError: anything else, or more than `MAX_ITEMS` entries or numbers beyond `MAX_NUMBER`.
    """
    refused = UserError(f"found {str(text)[:80]!r} where s3prl evaluates text; expected {EXPECTED}")
    if not isinstance(text, str) or len(text) > MAX_TEXT:
        raise refused
    try:
        value = _value(ast.parse(text.strip(), mode="eval").body)
        if not all(isinstance(item, int) or (len(item) == 3 and set(map(type, item)) == {int}) for item in value):
            raise ValueError(value)
        return value
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError) as error:
        raise refused from error


def _value(node: ast.expr) -> Any:
    """The value of a node; ValueError unless it is a literal of a size that a network can have."""
    value: Any
    if isinstance(node, ast.Constant) and type(node.value) is int and node.value <= MAX_NUMBER:
        return node.value
    if isinstance(node, ast.List | ast.Tuple):
        value = [_value(item) for item in node.elts]
        value = value if isinstance(node, ast.List) else tuple(value)
    elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        value = _sequence(_value(node.left)) + _sequence(_value(node.right))
    elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
        left, right = _value(node.left), _value(node.right)
        items, times = (right, left) if isinstance(left, int) else (left, right)
        if not isinstance(times, int) or times > MAX_ITEMS:
            raise ValueError(times)
        value = _sequence(items) * times
    else:
        raise ValueError(ast.dump(node)[:80])
    if len(value) > MAX_ITEMS:
        raise ValueError(len(value))
    return value


def _sequence(value: Any) -> Any:
    if not isinstance(value, list | tuple):
        raise ValueError(value)
    return value


def kaldi_feature(text: str) -> Any:
    """The function of torchaudio.compliance.kaldi that a text names; UserError for any other text."""
    found = _KALDI.fullmatch(str(text))
    if found is None:
        raise UserError(
            f"feat_type: found {str(text)[:80].rpartition('kaldi.')[2]!r}, expected fbank, mfcc or spectrogram"
        )
    return getattr(importlib.import_module("torchaudio.compliance.kaldi"), found.group(1))


def load(path: str | Path, *unused: object, **settings: object) -> dict[str, Any]:
    """`torch.load` of the host: on the CPU, checked, and never code."""
    return read_checkpoint(path)


TORCH = View(torch, load=load)
# Guards by module of s3prl/upstream: name of the replaced global, and its stand-in.
GUARDS: dict[str, tuple[str, Callable[..., Any] | View]] = {
    "baseline.extracter": ("eval", kaldi_feature),
    "data2vec.data2vec_model": ("eval", literal),
    "distiller.builder": ("torch", TORCH),
    "distiller.model": ("eval", literal),
    "hubert.hubert_model": ("eval", literal),
    "lighthubert.lighthubert.lighthubert": ("eval", literal),
    "mockingjay.builder": ("torch", TORCH),
    "multires_hubert.hubert_model": ("eval", literal),
    "roberta.convert": ("torch", TORCH),
    "roberta.roberta_model": ("eval", literal),
    "wav2vec.wav2vec_model": ("eval", literal),
    "wav2vec2.wav2vec2_model": ("eval", literal),
    "wavlm.WavLM": ("eval", literal),
}


def install(package: str = "s3prl.upstream", names: tuple[str, ...] = tuple(GUARDS)) -> None:
    """Puts the stand-ins for `names`, keys of `GUARDS`, into modules of `package`; a second call changes nothing.

    The package is ``upstream`` for s3prl's pretraining tasks, which import the same files by that name.
    """
    for name in names:
        variable, guard = GUARDS[name]
        setattr(importlib.import_module(f"{package}.{name}"), variable, guard)

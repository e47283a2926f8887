"""Named weights: checked before a module loads them, and hashed."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from s3prl_gendistiller.errors import UserError

LISTED = 5
_WEIGHT_NORM = {"weight_g": "parametrizations.weight.original0", "weight_v": "parametrizations.weight.original1"}


def current_name(name: str) -> str:
    """A weight's name in current torch, which renamed the two parts of a weight norm."""
    module, dot, leaf = name.rpartition(".")
    return module + dot + _WEIGHT_NORM.get(leaf, leaf)


def check_weights(weights: Any, module: nn.Module, path: str | Path, what: str, whole: str) -> None:
    """Refuses weights that do not fit a module, or are not finite where the module's own are; nothing is copied.

    Args:
        weights: content of the file `path`.
        what, whole: description of a fitting module, and the name of the module, for the message.

    Raises:
        UserError: names some of the weights.
    """
    if not isinstance(weights, Mapping):
        raise UserError(f"{path}: found {type(weights).__name__}, expected the weights of {whole}; use another file")
    expected = module.state_dict()
    problems = [f"{name} is missing" for name in expected.keys() - weights.keys()]
    problems += [f"{name} is not part of {whole}" for name in weights.keys() - expected.keys()]
    for name in expected.keys() & weights.keys():
        found = _found(weights[name], expected[name])
        if found is not None:
            problems.append(f"{name} is {found}, expected {tuple(expected[name].shape)}")
    if problems:
        listed = "; ".join(sorted(problems)[:LISTED])
        raise UserError(f"{path}: {len(problems)} weights do not fit {what}: {listed}; use another file")
    check_finite({name: value for name, value in weights.items() if is_finite(expected[name])}, path)


def check_finite(weights: Mapping[str, Any], source: str | Path) -> None:
    """Raises a UserError with the name of the first weight that is not finite, and the number of such weights.

    Args:
        weights: name -> value; values that are no dense tensors of floats are passed over.
        source: file or key that holds the weights, for the message.
    """
    wrong = [name for name, value in weights.items() if is_plain(value) and not is_finite(value)]
    if wrong:
        found = "NaN" if weights[wrong[0]].isnan().any() else "infinite numbers"
        raise UserError(
            f"{source}: found {found} in the weight {wrong[0]} ({len(wrong)} such weights), expected finite numbers; "
            "copy the file again, or use an earlier one"
        )


def weights_hash(state: Mapping[str, Tensor]) -> str:
    """16 hexadecimal digits of the names and values of weights."""
    digest = hashlib.sha256()
    for name, value in sorted(state.items()):
        digest.update(name.encode())
        digest.update(_bytes(value))
    return digest.hexdigest()[:16]


def values_hash(module: nn.Module) -> str:
    """16 hexadecimal digits of a module's weights without their names, which differ between versions of libraries."""
    digests = sorted(hashlib.sha256(_bytes(value)).digest() for value in module.parameters())
    return hashlib.sha256(b"".join(digests)).hexdigest()[:16]


def _bytes(value: Tensor) -> bytes:
    return value.detach().float().cpu().contiguous().numpy().tobytes()


def is_plain(value: Any) -> bool:
    """Whether a value is a dense tensor with memory of its own: not sparse, quantised, meta or expanded."""
    strided = isinstance(value, Tensor) and value.layout == torch.strided
    return strided and not value.is_quantized and not value.is_meta and 0 not in value.stride()


def is_finite(value: Tensor) -> bool:
    """Whether every number of a tensor is finite, whatever its type; a tensor on the meta device has no numbers."""
    return value.is_meta or not value.is_floating_point() or bool(value.float().isfinite().all())


def _found(value: Any, expected: Tensor) -> str | None:
    """Description of a weight that cannot take the place of `expected`; None for one that can."""
    if not is_plain(value):
        return "no dense tensor" if isinstance(value, Tensor) else type(value).__name__
    if value.is_floating_point() != expected.is_floating_point() or value.is_complex() != expected.is_complex():
        return f"of {value.dtype}"
    return None if value.shape == expected.shape else f"{tuple(value.shape)}"

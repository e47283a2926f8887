"""Weights out of a file: what is looked at before a module takes them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from s3prl_gendistiller.errors import UserError

LISTED = 5


def check_weights(weights: Any, module: nn.Module, path: str | Path, what: str, whole: str) -> None:
    """Refuses weights of which one does not fit, or is not finite where the module's own is; nothing is copied.

    Args:
        weights: as a file holds them.
        path: of the file, for the message.
        what: what the weights are to fit; `whole`: what they are weights of, both for the message.

    Raises:
        UserError: names some of them.
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
        raise UserError(
            f"{path}: {len(problems)} weights do not fit {what}: {_some(sorted(problems))}; use another file"
        )
    check_finite({name: value for name, value in weights.items() if is_finite(expected[name])}, path)


def check_finite(weights: Mapping[str, Any], path: str | Path) -> None:
    """
    Raises:
        UserError: names some of the weights that are not.
    """
    broken = [name for name, value in weights.items() if is_plain(value) and not is_finite(value)]
    if broken:
        raise UserError(
            f"{path}: {len(broken)} weights hold NaN or infinite numbers ({_some(broken)}), expected finite ones; use "
            "an older checkpoint"
        )


def is_plain(value: Any) -> bool:
    """Whether a value is a tensor of numbers that are really there: not sparse, quantised, on no device or expanded."""
    strided = isinstance(value, Tensor) and value.layout == torch.strided
    return strided and not value.is_quantized and not value.is_meta and 0 not in value.stride()


def is_finite(value: Tensor) -> bool:
    """Whether every number of a tensor is finite, whatever its type."""
    return bool(value.float().isfinite().all()) if value.is_floating_point() else True


def _found(value: Any, expected: Tensor) -> str | None:
    """What a weight is, if it cannot take the place of `expected`."""
    if not is_plain(value):
        return "no dense tensor" if isinstance(value, Tensor) else type(value).__name__
    if value.is_floating_point() != expected.is_floating_point() or value.is_complex() != expected.is_complex():
        return f"of {value.dtype}"
    return None if value.shape == expected.shape else f"{tuple(value.shape)}"


def _some(names: list[str]) -> str:
    return "; ".join(names[:LISTED])

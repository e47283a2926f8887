"""The weights of a transformers folder as a plain dictionary, whole or in shards, without running anything."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import torch
from torch import Tensor

from s3prl_gendistiller.errors import UserError

WEIGHT_FILES = ("model.safetensors", "pytorch_model.bin")


def read_weights(folder: Path) -> dict[str, Tensor]:
    """All weights of a folder, on the CPU; safetensors first where both kinds are there.

    Raises:
        UserError: there are none, a file is missing or not whole, or it needs code to be run.
    """
    weights: dict[str, Tensor] = {}
    for path in _files(folder):
        weights.update(_read(path))
    return weights


def _files(folder: Path) -> list[Path]:
    for name in WEIGHT_FILES:
        if (folder / name).is_file():
            return [folder / name]
        index = folder / f"{name}.index.json"
        if index.is_file():
            try:
                names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
                return [folder / Path(name).name for name in names]
            except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError, AttributeError) as error:
                raise UserError(f"teacher.folder: {index} is no list of weight files; copy it again") from error
    raise UserError(f"teacher.folder: {folder} holds no weights; expected {' or '.join(WEIGHT_FILES)}")


def _read(path: Path) -> dict[str, Tensor]:
    import safetensors
    import safetensors.torch

    if not path.is_file():
        raise UserError(f"teacher.folder: {path} is not there, but its index lists it; copy the folder again")
    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load_file(path)
        weights = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UserError(
            f"teacher.folder: {path} refused, it is no file of tensors alone; expected weights that load without "
            "running code, such as model.safetensors"
        ) from error
    except (safetensors.SafetensorError, RuntimeError, EOFError, ValueError, OSError) as error:
        reason = (str(error).strip() or repr(error)).splitlines()[0]
        raise UserError(
            f"teacher.folder: {path} is not whole ({path.stat().st_size} bytes, {reason}); copy it again"
        ) from error
    if not isinstance(weights, dict) or not all(isinstance(value, Tensor) for value in weights.values()):
        raise UserError(f"teacher.folder: {path} holds something else than named tensors; expected a state_dict")
    return weights

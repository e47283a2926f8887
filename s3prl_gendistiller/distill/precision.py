"""The precision in which teacher and student compute: `teacher.precision` and `distill.precision`.

Weights, losses, optimiser and the statistics of norms stay in float32. Lower precisions are torch's autocast, in which
products of matrices and convolutions are computed in half of the bits.
"""

from __future__ import annotations

import contextlib

import torch

from s3prl_gendistiller.errors import UserError


def dtype_of(precision: str, device: torch.device | str, key: str) -> torch.dtype:
    """The type for a value of `config_objectives.PRECISIONS`; "auto" is bfloat16 where a GPU has it, else float32.

    Args:
        key: the key that holds the value, for messages.

    Raises:
        UserError: the device lacks that precision.
    """
    kind = torch.device(device).type
    has_bfloat16 = kind != "cuda" or torch.cuda.is_bf16_supported(including_emulation=False)
    if precision == "auto":
        return torch.bfloat16 if kind == "cuda" and has_bfloat16 else torch.float32
    if precision == "bfloat16" and not has_bfloat16:
        raise UserError(f"{key}: found bfloat16, which this GPU lacks; set it to float32, or to auto")
    if precision == "float16" and kind == "cpu":
        raise UserError(f"{key}: found float16, which is for GPUs; set it to auto, or to float32 or bfloat16 on a CPU")
    return {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}[precision]


def computing_in(dtype: torch.dtype, device: torch.device) -> contextlib.AbstractContextManager:
    """torch's autocast to a type; float32 turns an autocast around it off."""
    return torch.autocast(device.type, dtype=None if dtype == torch.float32 else dtype, enabled=dtype != torch.float32)

"""Precision of computations in which half precision would change the result."""

from __future__ import annotations

import torch
from torch import Tensor


def float32_or_better(values: Tensor) -> Tensor:
    """float64 stays, other types become float32: in bfloat16 an angle between frames is wrong by 0.005."""
    return values if values.dtype == torch.float64 else values.float()

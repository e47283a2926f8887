"""Where half precision would show in the result."""

from __future__ import annotations

import torch
from torch import Tensor


def float32_or_better(values: Tensor) -> Tensor:
    """In bfloat16 an angle between frames is off by .005."""
    return values if values.dtype == torch.float64 else values.float()

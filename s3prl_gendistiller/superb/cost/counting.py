"""Multiply-adds of a forward pass, counted on the operations that torch executes."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from s3prl_gendistiller.superb.cost.shapes import ShapesOnly

UNCOUNTED = (
    *("mv", "addmv", "dot", "vdot", "addbmm", "addr", "_trilinear", "_cdist_forward", "_fft_r2c", "_fft_c2c"),
    *("_fft_c2r", "mkldnn_rnn_layer", "_native_multi_head_attention", "_transformer_encoder_layer_fwd"),
)
"""What multiplies and adds, and is no matrix product or convolution to torch's counter."""

logger = logging.getLogger(__name__)


class Count(NamedTuple):
    """Of one forward pass.

    Attributes:
        multiply_adds: of every matrix product and convolution; additions, norms and activations do not count.
        uncounted: names of operations that multiply and add but are missing in it.
    """

    multiply_adds: int
    uncounted: frozenset[str]


def multiply_adds(expert: nn.Module, wavs: Sequence[Tensor]) -> int:
    """As `count`, the number alone."""
    return count(expert, wavs).multiply_adds


def count(expert: nn.Module, wavs: Any, *, computed: bool = False) -> Count:
    """Counts a forward pass.

    Args:
        expert: in eval mode; its parameters ask for no gradients afterwards.
        wavs: what it takes.
        computed: run it as it is; else for its shapes alone, which is quicker, unless it fails so.
    """
    if computed:
        return _count(expert, wavs)
    try:
        with ShapesOnly():
            return _count(expert, wavs)
    except Exception as error:  # whatever an upstream says to zeros; if it is at fault itself, it says so again
        logger.info("runs as it is, not for its shapes alone: %s: %s", type(error).__name__, error)
        return _count(expert, wavs)


@torch.no_grad()
def _count(expert: nn.Module, wavs: Any) -> Count:
    # The counter hooks whatever asks for gradients, and cannot hook a view of a parameter (a row of step_norms) made
    # without them. Counting with gradients would keep every intermediate result.
    expert.requires_grad_(False)
    with _no_fused_kernels(), _Executed() as executed, FlopCounterMode(display=False) as counter:
        expert(wavs)
    return Count(counter.get_total_flops() // 2, frozenset(executed.names.intersection(UNCOUNTED)))


@contextlib.contextmanager
def _no_fused_kernels() -> Iterator[None]:
    """torch counts products; a fused kernel (attention, transformer layer, recurrent layer on a CPU) is none."""
    before = torch.backends.mha.get_fastpath_enabled()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*TF32.*")
        flags = torch.backends.mkldnn.flags(enabled=False)
        with flags, sdpa_kernel(SDPBackend.MATH):
            torch.backends.mha.set_fastpath_enabled(False)
            try:
                yield
            finally:
                torch.backends.mha.set_fastpath_enabled(before)


class _Executed(TorchDispatchMode):
    """The names of all operations."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.add(func.overloadpacket.__name__)
        return func(*args, **(kwargs or {}))

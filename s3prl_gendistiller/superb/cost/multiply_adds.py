"""Multiply-adds of a forward pass, and with them the cost of a model: parameters, multiply-adds and CPU time.

Multiply-adds are counted on the operations that torch executes when s3prl runs the model, not by a formula of the whole
model. A Fourier transform counts as the fast transform that it is, see `fourier_multiply_adds`.
"""

from __future__ import annotations

import contextlib
import logging
import math
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from s3prl_gendistiller.distill.audio import SAMPLE_RATE
from s3prl_gendistiller.host.layers import load_upstream
from s3prl_gendistiller.superb.cost.shapes import ShapesOnly
from s3prl_gendistiller.superb.models import BenchmarkedModel

UNCOUNTED = (
    *("mv", "addmv", "dot", "vdot", "addbmm", "addr", "_trilinear", "_cdist_forward", "mkldnn_rnn_layer"),
    *("_native_multi_head_attention", "_transformer_encoder_layer_fwd"),
)
"""Operations that multiply and add, and that torch's counter leaves out."""
SECONDS = 8
"""Length of the utterance on which a cost is measured."""
ROUNDS = 7

logger = logging.getLogger(__name__)


class Count(NamedTuple):
    """Multiply-adds of one forward pass.

    Attributes:
        multiply_adds: sum over matrix products, convolutions and Fourier transforms; additions, norms and activations
            do not count.
        uncounted: names of operations that multiply and add, and that `multiply_adds` leaves out.
    """

    multiply_adds: int
    uncounted: frozenset[str]


@dataclass(frozen=True)
class Cost:
    """Cost of one upstream as s3prl runs it, with the prediction heads that s3prl keeps.

    Attributes:
        gmacs_per_s: billions of multiply-adds per second of audio, on an utterance of `SECONDS`.
        cpu_s_per_s: CPU seconds per second of audio; comparable only within one measurement.
    """

    parameters: int
    gmacs_per_s: float
    cpu_s_per_s: float


def measure(models: Sequence[BenchmarkedModel]) -> dict[str, Cost]:
    experts = {model.name: _load(model) for model in models}
    seconds = cpu_times({name: partial(_run, expert) for name, expert in experts.items()})
    return {name: Cost(*_size(expert), seconds[name]) for name, expert in experts.items()}


def size(model: BenchmarkedModel) -> tuple[int, float]:
    """`Cost.parameters` and `Cost.gmacs_per_s` of one model, without its CPU time."""
    return _size(_load(model))


@torch.no_grad()
def cpu_times(runs: Mapping[str, Callable[[Tensor], object]]) -> dict[str, float]:
    """CPU seconds per second of audio of functions of an utterance (S,) of `SECONDS`.

    The median of `ROUNDS`. In each round all functions run one after another in this process, so that a busy machine
    slows all of them.
    """
    wav = _utterance()
    taken: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(ROUNDS):
        for name, run in runs.items():
            started = time.process_time()
            run(wav)
            taken[name].append((time.process_time() - started) / SECONDS)
    return {name: sorted(times)[ROUNDS // 2] for name, times in taken.items()}


def count(expert: nn.Module, wavs: Any) -> Count:
    """Counts a forward pass of an expert in eval mode, by its shapes alone (see `shapes`) unless that fails.

    Afterwards the expert's parameters require no gradients.
    """
    try:
        with ShapesOnly():
            return count_executed(expert, wavs)
    except Exception as error:  # some upstreams cannot run on zeros; a faulty upstream raises its error again below
        logger.info("runs as it is, not for its shapes alone: %s: %s", type(error).__name__, error)
        return count_executed(expert, wavs)


@torch.no_grad()
def count_executed(expert: nn.Module, wavs: Any) -> Count:
    """Counts a forward pass that computes every value; arguments as in `count`."""
    # The counter hooks every tensor that requires gradients, and cannot hook a view of a parameter (a row of
    # step_norms) made without them. Counting with gradients would keep every intermediate result.
    expert.requires_grad_(False)
    with _no_fused_kernels(), _Executed() as executed, _flop_counter() as counter:
        expert(wavs)
    return Count(counter.get_total_flops() // 2, frozenset(executed.names.intersection(UNCOUNTED)))


def fourier_multiply_adds(values: int, points: int, *, real: bool) -> int:
    """Multiply-adds of fast Fourier transforms, by the radix-2 algorithm whatever the number of points.

    A complex transform of N points has N / 2 log2 N butterflies of ten operations each: four multiplications and two
    additions for a complex product, four additions for two complex sums. That is 5 N log2 N operations, the convention
    of FFTW's benchmark, and 2.5 N log2 N multiply-adds, because torch's counter takes a multiply-add as two operations.
    A transform between real and complex values takes half of them.

    Args:
        values: number of values of all transforms, on the real side of a `real` one.
        points: N of each transform, the product over its dimensions.

    Source: M. Frigo and S. G. Johnson, The design and implementation of FFTW3, Proceedings of the IEEE 93, 2005.
    """
    return round((1.25 if real else 2.5) * values * math.log2(points))


def _size(expert: nn.Module) -> tuple[int, float]:
    parameters = sum(parameter.numel() for parameter in expert.parameters())
    return parameters, count(expert, [_utterance()]).multiply_adds / SECONDS / 1e9


def _load(model: BenchmarkedModel) -> nn.Module:
    return load_upstream(model.upstream, model.checkpoint, model.steps)


def _run(expert: nn.Module, wav: Tensor) -> object:
    return expert([wav])


def _utterance() -> Tensor:
    """Noise of `SECONDS` (S,), the same in each call."""
    return torch.randn(SECONDS * SAMPLE_RATE, generator=torch.Generator().manual_seed(0)) / 10


def _flop_counter() -> FlopCounterMode:
    """torch's counter, with the Fourier transforms that it leaves out; it takes a multiply-add as two operations."""

    def transform(shape: Sequence[int], dimensions: Sequence[int], *, real: bool) -> int:
        points = math.prod(shape[dimension] for dimension in dimensions)
        return 2 * fourier_multiply_adds(math.prod(shape), points, real=real)

    def to_complex(shape: Any, dimensions: Any, *_: Any, **__: Any) -> int:
        return transform(shape, dimensions, real=True)

    def between_complex(shape: Any, dimensions: Any, *_: Any, **__: Any) -> int:
        return transform(shape, dimensions, real=False)

    def to_real(shape: Any, dimensions: Any, *_: Any, out_shape: Any, **__: Any) -> int:
        return transform(out_shape, dimensions, real=True)

    aten = torch.ops.aten
    transforms = {aten._fft_r2c: to_complex, aten._fft_c2c: between_complex, aten._fft_c2r: to_real}
    return FlopCounterMode(display=False, custom_mapping=transforms)


@contextlib.contextmanager
def _no_fused_kernels() -> Iterator[None]:
    """Without the fused kernels for attention, transformer and recurrent layers, whose products torch cannot count."""
    before = torch.backends.mha.get_fastpath_enabled()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*TF32.*")
        with torch.backends.mkldnn.flags(enabled=False), sdpa_kernel(SDPBackend.MATH):
            torch.backends.mha.set_fastpath_enabled(False)
            try:
                yield
            finally:
                torch.backends.mha.set_fastpath_enabled(before)


class _Executed(TorchDispatchMode):
    """The names of all executed operations."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.add(func.overloadpacket.__name__)
        return func(*args, **(kwargs or {}))

"""torch.compile of teacher and student in training: `distill.compile`.

The repeated blocks are compiled, each for itself: transformer layers, convolutions with a LayerNorm, and on a GPU the
group norm over each utterance's own frames. Other convolutions would gain nothing: torch.compile calls the same library
for them. All layers of one kind share one graph, so that a dozen layers compile as fast as one. Only the function of a
block is replaced: weights keep their places and names, and hooks stay outside the graph.

Scoring runs uncompiled, because held-out batches have many lengths.
"""

from __future__ import annotations

import functools
import importlib
import logging
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from s3prl_gendistiller.distill.task import DistillTask
from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.models.encoder_layer import EncoderLayer
from s3prl_gendistiller.models.front_end import ConvBlock, UtteranceGroupNorm

KEY = "distill.compile"
BACKEND = "inductor"
OFF = f"set {KEY} to false; for a run that goes on, TORCHDYNAMO_DISABLE=1 in the environment does the same"
FEW_LENGTHS = 8
"""Up to this number of padded lengths, each length has a graph of its own."""
GRAPHS_OF_LENGTH = 8
"""Graphs that a block may have for each length: with and without padding, sizes of a rank's share, and so on."""

# Lists of blocks, in which transformers, s3prl and fairseq agree: the end of their names in a network.
_LISTS = ("encoder.layers", "feature_extractor.conv_layers")
_FAULTS = ("torch._dynamo", "torch._inductor", "triton")

logger = logging.getLogger(__name__)


def compile_task(task: DistillTask, lengths: int | None = None, device: torch.device | str | None = None) -> None:
    """Compiles the blocks of a task's teacher and student in place, for training alone.

    Training with `distill.compile` calls this function once, and so does whoever measures it. A block compiles in the
    first step that needs it.

    Args:
        lengths: the number of padded lengths of the batches (`datarc.padded_lengths`). With at most `FEW_LENGTHS`,
            each length has a graph of its own. None, or more: the second length gives a graph for all lengths.
        device: the device of the training; None: that of the student's weights.

    Raises:
        UserError: torch.compile does not work here.
    """
    require_compiler(next(task.student.parameters()).device if device is None else torch.device(device))
    few = lengths is not None and lengths <= FEW_LENGTHS
    most = GRAPHS_OF_LENGTH * (lengths if few and lengths else 2)
    counts = {}
    for name, network in (("teacher", task.teacher.encoder), ("student", task.student)):
        found = list(_parts(network))
        counts[name] = len(found)
        for owner, function in found:
            _leave_hooks_out(owner)
            plain = getattr(owner, function)
            compiled = torch.compile(plain, backend=BACKEND, dynamic=False if few else None)
            setattr(owner, function, _in_training(task.student, plain, compiled))
    for module in (task, task.teacher):  # a caller with a cache calls the teacher alone
        module.forward = _with_limit(module.forward, most)  # type: ignore[method-assign]
    logger.info(
        "torch.compile: %d blocks of the teacher and %d of the student, at most %d graphs for each kind of block; the "
        "first steps take longer",
        counts["teacher"],
        counts["student"],
        most,
    )


def require_compiler(device: torch.device) -> None:
    """Compiles a function of one line, forwards and backwards; a UserError with the reason if that fails."""
    values = torch.ones(64, device=device, requires_grad=True)
    try:
        compiled = torch.compile(_trial, backend=BACKEND, dynamic=False)
        with torch.enable_grad():
            compiled(values).backward()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
    except Exception as error:  # a compiler fails with classes of its own, of the system and of its backend
        needs = "triton, a C compiler and the headers of Python" if device.type == "cuda" else "a C++ compiler (g++)"
        raise UserError(
            f"{KEY}: found true, and torch.compile does not work on {device.type} here ({reason_of(error)}); it needs "
            f"{needs}. Install what is missing, or {OFF}"
        ) from error


def compiler_fault(error: BaseException) -> str | None:
    """The message of a training step whose compilation failed; None for another error."""
    if not type(error).__module__.startswith(_FAULTS):
        return None
    return f"torch.compile could not compile a block ({reason_of(error)}); {OFF}"


def reason_of(error: BaseException) -> str:
    """The first lines of an error of torch.compile, without its advice to developers, in one line."""
    text = " ".join(str(error).partition("Set TORCHDYNAMO_VERBOSE")[0].split())
    return (text or type(error).__name__)[:300]


def _trial(x: Tensor) -> Tensor:
    return (nn.functional.gelu(x) * 2.0).sum()


def _parts(network: nn.Module) -> Iterator[tuple[nn.Module, str]]:
    """Each block of a network, and the name of its function that is compiled."""
    # Two-dimensional attention joins its steps again in the backward pass, by hooks that torch.compile cannot follow.
    across_steps = getattr(getattr(network, "config", None), "history", None) == "all"
    for name, module in network.named_modules():
        if isinstance(module, UtteranceGroupNorm):
            yield module, "normed"
        elif isinstance(module, EncoderLayer):
            yield module, "feed_forward" if across_steps else "forward"
        elif isinstance(module, ConvBlock):
            yield from _with_norm([module])
        elif isinstance(module, nn.ModuleList) and name.endswith(_LISTS):
            others = [block for block in module.children() if not isinstance(block, ConvBlock | EncoderLayer)]
            yield from _with_norm(others)


def _with_norm(blocks: Iterable[nn.Module]) -> Iterator[tuple[nn.Module, str]]:
    """The blocks that hold a LayerNorm."""
    for block in blocks:
        if any(isinstance(module, nn.LayerNorm) for module in block.modules()):
            yield block, "forward"


def _leave_hooks_out(block: nn.Module) -> None:
    """Removes transformers' hooks inside a block, which keep attention weights that nobody reads and split the graph.

    The hook for hidden states is on the block itself, and stays.
    """
    for module in block.modules():
        for number, hook in list(module._forward_hooks.items()):
            if module is not block and hook.__module__ == "transformers.utils.output_capturing":
                del module._forward_hooks[number]


def _in_training(student: nn.Module, plain: Callable[..., Any], compiled: Callable[..., Any]) -> Callable[..., Any]:
    """`compiled` while the student trains, otherwise `plain`."""

    @functools.wraps(plain)
    def call(*args: Any, **options: Any) -> Any:
        return (compiled if student.training else plain)(*args, **options)

    return call


def _with_limit(function: Callable[..., Any], most: int) -> Callable[..., Any]:
    """A function in which torch may compile `most` graphs of a block, and runs the block uncompiled beyond."""
    config = importlib.import_module("torch._dynamo.config")
    limit = "recompile_limit" if hasattr(config, "recompile_limit") else "cache_size_limit"
    # Blocks are small already; torch would divide them again by the buckets of DistributedDataParallel.
    settings = {limit: most, "optimize_ddp": False}

    @functools.wraps(function)
    def call(*args: Any, **options: Any) -> Any:
        with config.patch(settings):
            return function(*args, **options)

    return call

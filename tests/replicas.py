"""What DataParallel does to a module on each step, without a GPU: copies that share everything but weights."""

from __future__ import annotations

from torch import nn


def replicate(module: nn.Module) -> nn.Module:
    """One copy as `torch.nn.parallel.replicate` makes it: hooks and plain attributes are the original's own."""
    copies = {part: part._replicate_for_data_parallel() for part in module.modules()}
    for part, copy in copies.items():
        for name, child in part._modules.items():
            copy._modules[name] = None if child is None else copies[child]
        for name, parameter in part._parameters.items():
            setattr(copy, name, None if parameter is None else parameter.detach().clone())
        for name, buffer in part._buffers.items():
            copy._buffers[name] = None if buffer is None else buffer.clone()
    return copies[module]

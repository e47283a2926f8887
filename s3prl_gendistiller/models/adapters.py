"""Low-rank adapters of the shared layer: each pass adds B A of its own to the layer's matrices W (arXiv 2106.09685).

    y = W x + B A x         A (r, D_in), B (D_out, r)

B starts at zero, so that a student starts as the student without adapters.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

MATRICES = (*(f"attention.{name}_proj" for name in ("q", "k", "v", "out")), "ffn_in", "ffn_out")
"""The six matrices of the shared layer."""
Adapter = tuple[Tensor, Tensor]
"""A (r, D_in) and B (D_out, r) of one matrix; with N or B N more on the left for N steps at once."""
Adapters = Mapping[str, Adapter]
"""The adapters of one pass, by the names of the layer's matrices."""


def adapted(linear: nn.Linear, x: Tensor, adapter: Adapter | None) -> Tensor:
    """A linear layer with the addition of an adapter: (..., D_in) -> (..., D_out)."""
    if adapter is None:
        return linear(x)
    down, up = adapter
    added: Tensor = x @ down.mT @ up.mT
    return linear(x) + added


class StepAdapter(nn.Module):
    """The adapters of one matrix for all passes: `down` (P, r, D_in) and `up` (P, D_out, r)."""

    def __init__(self, linear: nn.Linear, rank: int, passes: int) -> None:
        super().__init__()
        bound = 1 / math.sqrt(linear.in_features)  # of LoRA's release, that of nn.Linear
        self.down = nn.Parameter(torch.empty(passes, rank, linear.in_features).uniform_(-bound, bound))
        self.up = nn.Parameter(torch.zeros(passes, linear.out_features, rank))


class StepAdapters(nn.Module):
    """The adapters of the `MATRICES` of `layer`, for each of `passes` passes through that layer."""

    def __init__(self, layer: nn.Module, rank: int, passes: int) -> None:
        super().__init__()
        self.of = nn.ModuleDict()
        for name in MATRICES:
            linear = layer.get_submodule(name)
            assert isinstance(linear, nn.Linear)
            self.of[name.rpartition(".")[2]] = StepAdapter(linear, rank, passes)

    def of_pass(self, index: int) -> Adapters:
        """The adapters of one pass."""
        return self._map(lambda values: values[index])

    def of_first(self, steps: int, repeats: int | None = None) -> Adapters:
        """The adapters of the first passes: (N, ...), or (`repeats` N, ...) for a batch whose N steps are folded."""
        return self._map(lambda values: values[:steps] if repeats is None else values[:steps].repeat(repeats, 1, 1))

    def _map(self, chosen: Callable[[Tensor], Tensor]) -> Adapters:
        found = {}
        for name, adapter in self.of.items():
            assert isinstance(adapter, StepAdapter)
            found[name] = chosen(adapter.down), chosen(adapter.up)
        return found

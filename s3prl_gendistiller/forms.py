"""The forms of `history_input` and `skip_connection`: one row each, with the properties and the function of a form.

No torch is imported here, because the configuration reads its choices from these tables. Notation as in
`models.gendistiller`: z front end, y_n hidden state, h_n generated layer, P history projection, LN history norm.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from torch import Tensor


class HistoryParts(Protocol):
    """The parts of a student that a form may use."""

    def project(self, x: Tensor) -> Tensor:
        """P LN(x), (B, T, D)."""

    def project_joined(self, base: Tensor, x: Tensor) -> Tensor:
        """P [base; LN(x)], (B, T, D)."""


@dataclass(frozen=True)
class HistoryInput:
    """One form of the input of the shared layer from the second step on.

    Attributes:
        compute: (parts, base, y_(n-1), h_(n-1)) to the input without its step embedding; all are (B, T, D).
        carries: base is y_(n-1), the hidden state of the step before; otherwise base is z.
        widths: number of widths D that the history projection reads; 0 where the form has no projection.
        control: the form does not use the generated layer h_(n-1).
    """

    compute: Callable[[HistoryParts, Tensor, Tensor, Tensor], Tensor]
    carries: bool = False
    widths: int = 0
    control: bool = False


@dataclass(frozen=True)
class SkipConnection:
    """One form of the summand of the output layer's result.

    Attributes:
        choose: (h_(n-1), input of the shared layer, z) to the summand, or None; h_(n-1) is None at the first step.
        feeds_back: the form uses the generated layer h_(n-1).
    """

    choose: Callable[[Tensor | None, Tensor, Tensor], Tensor | None]
    feeds_back: bool = False


HISTORY_INPUTS: dict[str, HistoryInput] = {
    "add": HistoryInput(lambda parts, z, y, h: z + h),
    "project": HistoryInput(lambda parts, z, y, h: z + parts.project(h), widths=1),
    "concat": HistoryInput(lambda parts, z, y, h: parts.project_joined(z, h), widths=2),
    "carry": HistoryInput(lambda parts, base, y, h: base + parts.project(h), carries=True, widths=1),
    # recurrence without generated history
    "recur": HistoryInput(lambda parts, base, y, h: base, carries=True, control=True),
    # the size and cost of carry, without generated history
    "echo": HistoryInput(lambda parts, base, y, h: base + parts.project(y), carries=True, widths=1, control=True),
}

SKIP_CONNECTIONS: dict[str, SkipConnection] = {
    "none": SkipConnection(lambda history, layer_input, z: None),
    "history": SkipConnection(lambda history, layer_input, z: history, feeds_back=True),
    "layer": SkipConnection(lambda history, layer_input, z: layer_input),
    "features": SkipConnection(lambda history, layer_input, z: z),
}

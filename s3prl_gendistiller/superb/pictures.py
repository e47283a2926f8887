"""Pictures that commands write as PNG files: panels, one legend outside of them, and notes below them."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from s3prl_gendistiller.outputs import replacing

_LETTERS_PER_INCH = 15
"""Letters of a note that fit one inch at its font size."""
_LINE = 0.18
"""Inches that a line of a note or of a legend takes."""


@contextmanager
def chart(out: Path, width: float, height: float, panels: int = 1, across: int | None = None) -> Iterator[list[Any]]:
    """The axes of `panels` panels, `across` in a row (all of them, if None), each of `width` x `height` inches.

    `out` is written afterwards.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    across = across or panels
    down = -(-panels // across)
    size = (width * across, height * down)
    figure, axes = pyplot.subplots(down, across, figsize=size, layout="constrained", squeeze=False)
    for axis in axes.flat[panels:]:
        axis.set_axis_off()
    try:
        yield list(axes.flat[:panels])
        for axis in axes.flat[:panels]:
            axis.grid(alpha=0.3)
        with replacing(out) as part:
            figure.savefig(part, dpi=120, format="png")
    finally:
        pyplot.close(figure)


def legend(axis: Any, *groups: Mapping[str, Mapping[str, Any]]) -> None:
    """One legend for all panels of a picture, above them, where it covers no curve; each group begins a row.

    Args:
        axis: any panel.
        groups: label -> properties of its line, such as color, linestyle and marker.
    """
    from matplotlib.lines import Line2D

    figure = axis.figure
    groups = tuple(group for group in groups if group)
    longest = max(len(label) for group in groups for label in group) + 8
    fitting = int(figure.get_figwidth() * _LETTERS_PER_INCH * 0.8 / longest)
    columns = max(1, min(fitting, max(map(len, groups))))
    cells: list[tuple[Any, str]] = []
    for group in groups:
        cells += [(Line2D([], [], **{"color": "0.2", **style}), shown(label)) for label, style in group.items()]
        cells += [(Line2D([], [], linestyle=""), "")] * (-len(cells) % columns)
    by_column = [cell for column in range(columns) for cell in cells[column::columns]]  # the order of matplotlib
    lines, labels = zip(*by_column, strict=True)
    figure.set_figheight(figure.get_figheight() + _LINE * len(cells) / columns)
    figure.legend(lines, labels, loc="outside upper center", ncols=columns, fontsize=8, frameon=False)


def notes(axis: Any, lines: Sequence[str]) -> None:
    """Writes lines below all panels of a picture."""
    figure = axis.figure
    letters = int(figure.get_figwidth() * _LETTERS_PER_INCH)
    wrapped = [part for line in lines for part in textwrap.wrap(line, letters)]
    if wrapped:
        figure.set_figheight(figure.get_figheight() + _LINE * len(wrapped))
        figure.supxlabel(shown("\n".join(wrapped)), fontsize=8, x=0.01, ha="left")


def shown(name: str) -> str:
    """A name as matplotlib shows it letter by letter: a dollar sign would begin mathematics."""
    return name.replace("$", r"\$")


def cut_axes(axes: Sequence[Any]) -> list[str]:
    """A note for a reader if the vertical axis of a panel does not begin at 0."""
    cut = [axis for axis in axes if axis.get_yscale() == "linear" and axis.get_ylim()[0] > 0]
    if not cut:
        return []
    return ["The vertical axis does not begin at 0." if len(axes) == 1 else "Some vertical axes do not begin at 0."]

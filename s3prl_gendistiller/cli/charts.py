"""Charts that commands write as PNG files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from s3prl_gendistiller.outputs import replacing


@contextmanager
def chart(out: Path, width: float, height: float, panels: int = 1) -> Iterator[list[Any]]:
    """The axes of `panels` panels side by side, each of `width` x `height` inches; `out` is written afterwards."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, panels, figsize=(width * panels, height), layout="constrained", squeeze=False)
    yield list(axes.flat)
    for axis in axes.flat:
        axis.grid(alpha=0.3)
    with replacing(out) as part:
        figure.savefig(part, dpi=120, format="png")
    pyplot.close(figure)

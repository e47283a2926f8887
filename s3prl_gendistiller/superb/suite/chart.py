"""The chart of a suite."""

from __future__ import annotations

import statistics
from pathlib import Path

from s3prl_gendistiller.outputs import replacing
from s3prl_gendistiller.superb.suite.results import Results
from s3prl_gendistiller.superb.suite.suite import Suite
from s3prl_gendistiller.superb.suite.table import columns, label, numbers


def draw(suite: Suite, results: Results, out: Path) -> None:
    """One panel for each metric, one bar for each group of seeds, with the standard deviation over the seeds."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    panels = columns(suite, results)
    groups = suite.groups()
    across = min(4, len(panels))
    down = -(-len(panels) // across)
    size = (3.4 * across, 0.9 * down + 0.34 * down * len(groups))
    figure, axes = pyplot.subplots(down, across, figsize=size, squeeze=False, layout="constrained")
    for axis in axes.flat[len(panels) :]:
        axis.set_axis_off()
    for axis, (task, metric) in zip(axes.flat, panels, strict=False):
        for position, (group, models) in enumerate(groups.items()):
            values = numbers(results, models, task, metric)
            if values:
                spread = statistics.stdev(values) if len(values) > 1 else None
                axis.barh(position, statistics.fmean(values), xerr=spread, color=f"C{position % 10}", label=group)
        axis.set_yticks(range(len(groups)), list(groups), fontsize=8)
        axis.invert_yaxis()
        axis.set_title(label(task, metric), fontsize=9)
        axis.tick_params(axis="x", labelsize=8)
    with replacing(out) as part:
        figure.savefig(part, dpi=120, format="png")
    pyplot.close(figure)

"""The three files of a suite: results.json, the table, and the chart."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

from s3prl_gendistiller.outputs import replacing, write_text
from s3prl_gendistiller.superb.cost.multiply_adds import Cost
from s3prl_gendistiller.superb.leaderboard.scores import LEADERBOARD, References, counted_tasks, scored_tasks
from s3prl_gendistiller.superb.suite.results import RESULTS, Results, values_of, write_results
from s3prl_gendistiller.superb.suite.suite import Suite
from s3prl_gendistiller.superb.suite.table import columns, label, numbers, table

FILES = (RESULTS, "table.md", "scores.png")


def write_report(
    suite: Suite, results: Results, failures: Sequence[str], references: References | None, costs: Mapping[str, Cost]
) -> list[Path]:
    """Writes the three files below the suite's folder, and returns their paths; arguments as in `write_results`."""
    scores = write_results(suite, results, failures, references, costs)
    text = table(suite, results, scores, costs)
    left_out = [task.upper() for task in counted_tasks() if references and task not in scored_tasks(references)]
    if left_out and any(score is not None for score in scores.values()):
        text += f"\nscore: without {', '.join(left_out)}, where the upper reference is no better than the lower.\n"
    paths = [suite.out / name for name in FILES]
    write_text(paths[1], text)
    draw(suite, results, paths[2])
    return paths


def choose_references(results: Results, base: str, top: str, preset: str) -> References | None:
    """The references of the score, by the models named `base` (0) and `top` (1000).

    Without results of both, the leaderboard's references hold for the official preset, and none for another.
    """
    if base in results and top in results:
        return References(values_of(results[base]), values_of(results[top]))
    return LEADERBOARD if preset == "official" else None


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

"""The three files of a suite: results.json, the table, and the chart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from s3prl_gendistiller.outputs import replacing
from s3prl_gendistiller.superb.cost.multiply_adds import Cost
from s3prl_gendistiller.superb.leaderboard.scores import LEADERBOARD, References, counted_tasks, scored_tasks
from s3prl_gendistiller.superb.suite.chart import draw
from s3prl_gendistiller.superb.suite.results import RESULTS, Results, values_of, write_results
from s3prl_gendistiller.superb.suite.suite import Suite
from s3prl_gendistiller.superb.suite.table import table

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
    with replacing(paths[1]) as part:
        part.write_text(text, encoding="utf-8")
    draw(suite, results, paths[2])
    return paths


def choose_references(results: Results, base: str, top: str, preset: str) -> References | None:
    """The references of the score.

    Args:
        base, top: names of the models that score 0 and 1000; without results of both, the leaderboard's references hold
            for the official preset, and none for another.
    """
    if base in results and top in results:
        return References(values_of(results[base]), values_of(results[top]))
    return LEADERBOARD if preset == "official" else None

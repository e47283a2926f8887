"""The three files of a suite: results.json, the table, and the chart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from s3prl_gendistiller.distill.manifest import replacing
from s3prl_gendistiller.superb.cost.multiply_adds import Cost
from s3prl_gendistiller.superb.leaderboard.scores import COUNTED, LEADERBOARD, References, overall_score, scored_tasks
from s3prl_gendistiller.superb.suite.chart import draw
from s3prl_gendistiller.superb.suite.results import RESULTS, Outcome, Results, write_results
from s3prl_gendistiller.superb.suite.suite import Suite
from s3prl_gendistiller.superb.suite.table import table

FILES = (RESULTS, "table.md", "scores.png")


def write_report(
    suite: Suite, results: Results, failures: Sequence[str], references: References | None, costs: Mapping[str, Cost]
) -> list[Path]:
    """Writes the three files below the suite's folder, and returns their paths.

    Args:
        failures: one line each.
        references: of the score; None for a suite without a score.
        costs: by model; empty for a table without costs.
    """
    scores = {
        name: None if references is None else overall_score(_values(outcomes), references)
        for name, outcomes in results.items()
    }
    paths = [suite.out / name for name in FILES]
    write_results(paths[0], suite, results, scores, costs, failures, references)
    text = table(suite, results, scores, costs)
    if references is not None and any(score is not None for score in scores.values()):
        text += _left_out(references)
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
        return References(_values(results[base]), _values(results[top]))
    return LEADERBOARD if preset == "official" else None


def _values(outcomes: Mapping[str, Outcome]) -> dict[str, dict[str, float]]:
    return {task: outcome.values for task, outcome in outcomes.items()}


def _left_out(references: References) -> str:
    """A line below the table that names the tasks without influence on the score."""
    names = [task.upper() for task in COUNTED if task not in scored_tasks(references)]
    if not names:
        return ""
    return f"\nscore: without {', '.join(names)}, where the upper reference is no better than the lower.\n"

"""The files of a suite: results.json, the table in three formats, and the chart."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

from s3prl_gendistiller.outputs import write_text
from s3prl_gendistiller.superb.cost.multiply_adds import Cost
from s3prl_gendistiller.superb.leaderboard.scores import LEADERBOARD, References, counted_tasks, scored_tasks
from s3prl_gendistiller.superb.models import BenchmarkedModel
from s3prl_gendistiller.superb.suite.picture import draw
from s3prl_gendistiller.superb.suite.results import RESULTS, Results, values_of, write_results
from s3prl_gendistiller.superb.suite.suite import Suite
from s3prl_gendistiller.superb.suite.table import build_table
from s3prl_gendistiller.superb.suite.table_files import as_csv, as_latex

FILES = (RESULTS, "table.md", "table.csv", "table.tex", "scores.png")


def write_report(
    suite: Suite, results: Results, failures: Sequence[str], references: References | None, costs: Mapping[str, Cost]
) -> list[Path]:
    """Writes `FILES` below the suite's folder, and returns their paths; arguments as in `write_results`."""
    scores = write_results(suite, results, failures, references, costs)
    counted, with_score = counted_tasks(suite.preset), any(score is not None for score in scores.values())
    left_out = [task.upper() for task in counted if references and task not in scored_tasks(references)]
    notes = []
    if with_score and suite.preset == "mini":
        scale = "0 and 1000 are this suite's references. The leaderboard's score is another"
        notes.append(f"score: the mean over {', '.join(map(str.upper, counted))}; {scale}.")
    if left_out and with_score:
        notes.append(f"score: without {', '.join(left_out)}, where the upper reference is no better than the lower.")
    table = build_table(suite, results, scores, costs, notes)
    paths = [suite.out / name for name in FILES]
    for path, text in zip(paths[1:-1], (table.markdown(), as_csv(table), as_latex(table)), strict=True):
        write_text(path, text)
    draw(suite, results, paths[-1])
    return paths


def choose_references(results: Results, base: str, top: str, preset: str) -> References | None:
    """The references of the score, by the models named `base` (0) and `top` (1000); a student with seeds by its mean.

    Without results of both, the leaderboard's references hold for the official preset, and none for another.
    """
    lower, upper = _mean_values(results, base), _mean_values(results, top)
    if lower and upper:
        return References(lower, upper)
    return LEADERBOARD if preset == "official" else None


def _mean_values(results: Results, name: str) -> dict[str, dict[str, float]]:
    """Task -> metric -> mean over the runs of a model, of all its distillations if `name` is the student's name."""
    found: dict[str, dict[str, list[float]]] = {}
    for one, outcomes in results.items():
        model = BenchmarkedModel(one, "")
        if name in (model.name, model.distillation, model.group):
            for task, values in values_of(outcomes).items():
                for metric, value in values.items():
                    found.setdefault(task, {}).setdefault(metric, []).append(value)
    return {task: {key: statistics.fmean(one) for key, one in metrics.items()} for task, metrics in found.items()}

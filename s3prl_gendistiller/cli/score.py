"""`gendistiller score`: the leaderboard's score of finished results, beside published models."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from s3prl_gendistiller.cli import arguments
from s3prl_gendistiller.cli.charts import chart
from s3prl_gendistiller.outputs import check_writable
from s3prl_gendistiller.superb.entry.from_suite import read_results
from s3prl_gendistiller.superb.leaderboard.published_models import PUBLISHED
from s3prl_gendistiller.superb.leaderboard.scores import LEADERBOARD, overall_score, task_score
from s3prl_gendistiller.superb.suite.table import markdown
from s3prl_gendistiller.superb.tasks import TASKS

_DESCRIPTION = """\
The SUPERB leaderboard's score (FBANK 0, best of 2021 1000, mean of ten tasks), in all and by task, beside published
models. The score is comparable only for SUPERB's own corpora and settings (`gendistiller superb --preset official`)."""

_EXAMPLE = """\
example:
  gendistiller score result/superb                 # the results.json in it
  gendistiller score result/superb --out score.png # and a chart of score against size"""

Row = tuple[str, float | None, dict[str, dict[str, float]]]
"""Name, millions of parameters, and values by task and metric."""


def add_parser(subparsers: Any) -> None:
    about = "the leaderboard's score of results, beside published models"
    add = arguments.add_command(subparsers, "score", run, about, _DESCRIPTION, _EXAMPLE).add_argument
    add("results", nargs="*", type=arguments.path, help="results.json of `gendistiller superb`, or its folder")
    add("--out", type=arguments.path, metavar="PNG", help="draw score against parameters")


def run(args: argparse.Namespace) -> int:
    if args.out is not None:
        check_writable(args.out, "--out", folder=False)
    rows = [row for path in args.results for row in _students(path)]
    rows += [(model.name, model.million_parameters, model.values) for model in PUBLISHED]
    print(table(rows))
    if args.out is not None:
        draw(rows, args.out)
        print(f"{args.out}: score against parameters")
    return 0


def table(rows: list[Row]) -> str:
    """One row for each model; the score is empty where a task has no number."""
    cells = [["model", "M parameters", "score", *(task.upper() for task in TASKS)]]
    for name, millions, values in rows:
        points = [task_score(task, values.get(task, {}), LEADERBOARD) for task in TASKS]
        whole = overall_score(values, LEADERBOARD)
        cells.append([name, "" if millions is None else f"{millions:.2f}", _rounded(whole), *map(_rounded, points)])
    return markdown(cells)


def draw(rows: list[Row], out: Path) -> None:
    """Score against millions of parameters, of the models that have both; models of the user stand out."""
    published = {model.name for model in PUBLISHED}
    scores = [(overall_score(values, LEADERBOARD), millions, name) for name, millions, values in rows]
    shown = sorted(
        (score, size, name) for score, size, name in scores if score is not None and size is not None and size > 0
    )
    with chart(out, 7, 4.5) as (axis,):
        for index, (score, millions, name) in enumerate(shown):
            axis.plot(millions, score, "o", color="C7" if name in published else "C3")
            side = 1 if index % 2 else -1  # names of neighbours on alternate sides
            where: dict[str, Any] = {"xytext": (6 * side, -3), "ha": "left" if side > 0 else "right"}
            axis.annotate(name, (millions, score), textcoords="offset points", fontsize=8, **where)
        axis.set(xscale="log", xlim=(10, 250), xlabel="million parameters", ylabel="SUPERB score")
        axis.set_xticks([10, 20, 30, 50, 100], ["10", "20", "30", "50", "100"])
        axis.minorticks_off()


def _students(path: Path) -> list[Row]:
    """Name, millions of parameters and values of each model of a results.json."""
    return read_results(path, lambda _, content: [_row(*named) for named in content["students"].items()])


def _row(name: str, student: Mapping[str, Any]) -> Row:
    cost = student.get("cost")
    values = {
        task: {metric: float(content["values"][metric]) for metric in TASKS[task].counted}
        for task, content in student["tasks"].items()
    }
    return name, None if cost is None else float(cost["parameters"]) / 1e6, values


def _rounded(value: float | None) -> str:
    return "" if value is None else f"{value:.0f}"

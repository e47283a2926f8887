"""`gendistiller score`: the leaderboard's score of finished results, beside published models."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from s3prl_gendistiller.cli import arguments
from s3prl_gendistiller.outputs import check_writable, replacing
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

Values = dict[str, dict[str, float]]


def add_parser(subparsers: Any) -> None:
    """Add the command to `gendistiller`."""
    parser = subparsers.add_parser(
        "score",
        help="the leaderboard's score of results, beside published models",
        description=_DESCRIPTION,
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "results", nargs="*", type=arguments.path, help="results.json of `gendistiller superb`, or its folder"
    )
    parser.add_argument("--out", type=arguments.path, metavar="PNG", help="draw score against parameters")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Prints the table."""
    if args.out is not None:
        check_writable(args.out, "--out", folder=False)
    rows: list[tuple[str, float | None, Values]] = []
    for path in args.results:
        rows += _students(path)
    rows += [(model.name, model.million_parameters, model.values) for model in PUBLISHED]
    print(table(rows))
    if args.out is not None:
        draw(rows, args.out)
        print(f"{args.out}: score against parameters")
    return 0


def table(rows: list[tuple[str, float | None, Values]]) -> str:
    """One row for each model; the score is empty where a task has no number."""
    cells = [["model", "M parameters", "score", *(task.upper() for task in TASKS)]]
    for name, millions, values in rows:
        points = [task_score(task, values.get(task, {}), LEADERBOARD) for task in TASKS]
        whole = overall_score(values, LEADERBOARD)
        cells.append([name, "" if millions is None else f"{millions:.2f}", _rounded(whole), *map(_rounded, points)])
    return markdown(cells)


def draw(rows: list[tuple[str, float | None, Values]], out: Path) -> None:
    """Score against millions of parameters, of the models that have both; models of the user stand out."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    published = {model.name for model in PUBLISHED}
    figure, axis = pyplot.subplots(figsize=(7, 4.5), layout="constrained")
    shown: list[tuple[float, float, str]] = []
    for name, millions, values in rows:
        score = overall_score(values, LEADERBOARD)
        if millions is not None and millions > 0 and score is not None:
            shown.append((score, millions, name))
    for index, (score, millions, name) in enumerate(sorted(shown)):
        axis.plot(millions, score, "o", color="C7" if name in published else "C3")
        side = 1 if index % 2 else -1  # names of neighbours on alternate sides
        where: dict[str, Any] = {"xytext": (6 * side, -3), "ha": "left" if side > 0 else "right"}
        axis.annotate(name, (millions, score), textcoords="offset points", fontsize=8, **where)
    axis.set(xscale="log", xlim=(10, 250), xlabel="million parameters", ylabel="SUPERB score")
    axis.set_xticks([10, 20, 30, 50, 100], ["10", "20", "30", "50", "100"])
    axis.minorticks_off()
    axis.grid(alpha=0.3)
    with replacing(out) as part:
        figure.savefig(part, dpi=120, format="png")
    pyplot.close(figure)


def _students(path: Path) -> list[tuple[str, float | None, Values]]:
    """Name, millions of parameters and values of each model of a results.json.

    Raises:
        UserError: the file is missing, or is no results.json.
    """
    return read_results(
        path,
        lambda _, content: [
            (name, _millions(student), _values(student["tasks"])) for name, student in content["students"].items()
        ],
    )


def _millions(student: Mapping[str, Any]) -> float | None:
    cost = student.get("cost")
    return None if cost is None else float(cost["parameters"]) / 1e6


def _values(tasks: Mapping[str, Any]) -> Values:
    return {
        task: {metric: float(content["values"][metric]) for metric in TASKS[task].counted}
        for task, content in tasks.items()
    }


def _rounded(value: float | None) -> str:
    return "" if value is None else f"{value:.0f}"

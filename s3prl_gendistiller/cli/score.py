"""`gendistiller score`: the leaderboard's score of finished results, beside published models."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from s3prl_gendistiller.cli import arguments
from s3prl_gendistiller.outputs import check_writable
from s3prl_gendistiller.superb.entry.from_suite import read_results
from s3prl_gendistiller.superb.leaderboard.published_models import PUBLISHED
from s3prl_gendistiller.superb.leaderboard.scores import LEADERBOARD, overall_score, task_score
from s3prl_gendistiller.superb.pictures import chart, cut_axes, legend, notes, shown
from s3prl_gendistiller.superb.suite.table import markdown
from s3prl_gendistiller.superb.tasks import TASKS

_DESCRIPTION = """\
The SUPERB leaderboard's score (FBANK 0, best of 2021 1000, mean of ten tasks), in all and by task, beside published
models. The score is comparable only for SUPERB's own corpora and settings (`gendistiller superb --preset official`)."""

_EXAMPLE = """\
example:
  gendistiller score result/superb                 # the results.json in it
  gendistiller score result/superb --out score.png # and a chart of score against size"""

PUBLISHED_ROW, OFFICIAL = "published", "official settings"
"""Origins of numbers that are comparable."""
_PLACES = (
    *((7, 0, "left"), (-7, 0, "right"), (0, 10, "center"), (0, -10, "center")),
    *((7, 10, "left"), (7, -10, "left"), (-7, 10, "right"), (-7, -10, "right"), (0, 21, "center"), (0, -21, "center")),
)
"""Places of a name beside its point, the best first: points to the right and above, and alignment."""


class Row(NamedTuple):
    """One model: millions of parameters, values by task and metric, and what the values are of."""

    name: str
    millions: float | None
    values: Mapping[str, Mapping[str, float]]
    origin: str


def add_parser(subparsers: Any) -> None:
    about = "the leaderboard's score of results, beside published models"
    add = arguments.add_command(subparsers, "score", run, about, _DESCRIPTION, _EXAMPLE).add_argument
    add("results", nargs="*", type=arguments.path, help="results.json of `gendistiller superb`, or its folder")
    add("--out", type=arguments.path, metavar="PNG", help="draw score against parameters")


def run(args: argparse.Namespace) -> int:
    if args.out is not None:
        check_writable(args.out, "--out", folder=False)
    rows = [row for path in args.results for row in _students(path)]
    rows += [Row(model.name, model.million_parameters, model.values, PUBLISHED_ROW) for model in PUBLISHED]
    print(table(rows))
    for line in remarks(rows):
        print(line)
    if args.out is not None:
        draw(rows, args.out)
        print(f"{args.out}: score against parameters")
    return 0


def table(rows: list[Row]) -> str:
    """One row for each model; the score is empty where a task has no number."""
    cells = [["model", "M parameters", "score", *(task.upper() for task in TASKS)]]
    for name, millions, values, _ in rows:
        points = [task_score(task, values.get(task, {}), LEADERBOARD) for task in TASKS]
        whole = overall_score(values, LEADERBOARD)
        cells.append([name, "" if millions is None else f"{millions:.2f}", _rounded(whole), *map(_rounded, points)])
    return markdown(cells)


def draw(rows: list[Row], out: Path) -> None:
    """Score against millions of parameters, of the models that have both; models of the user stand out."""
    scores = [(overall_score(row.values, LEADERBOARD), row) for row in rows]
    placed = sorted(
        ((score, row.millions, row) for score, row in scores if score is not None and row.millions),
        key=lambda one: one[:2],
    )
    published: dict[str, Any] = {"marker": "o", "color": "C7", "linestyle": ""}
    entries = {"published models": published}
    with chart(out, 7, 4.5) as (axis,):
        for score, millions, row in placed:
            style = published
            if row.origin is not PUBLISHED_ROW:
                official = row.origin == OFFICIAL
                name = "your models, official settings" if official else f"your models, {row.origin}: not comparable"
                style = {"marker": "s" if official else "X", "color": "C3" if official else "C1", "linestyle": ""}
                entries[name] = style
            axis.plot(millions, score, **style)
        sizes = [millions for _, millions, _ in placed] or [10.0]
        axis.set(xscale="log", xlim=(min(sizes) / 1.8, max(sizes) * 1.8))
        axis.set(xlabel="millions of parameters (logarithmic axis)", ylabel="SUPERB score (FBANK 0, best of 2021 1000)")
        ticks = [base * ten for ten in (0.01, 0.1, 1, 10, 100, 1000) for base in (1, 2, 5)]
        ticks = [tick for tick in ticks if min(sizes) / 1.8 <= tick <= max(sizes) * 1.8]
        axis.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        axis.minorticks_off()
        _write_names(axis, [(millions, score, f"{row.name} {score:.0f}") for score, millions, row in placed])
        legend(axis, entries)
        notes(axis, [*remarks(rows), *cut_axes([axis])])


def _write_names(axis: Any, points: list[tuple[float, float, str]]) -> None:
    """Writes the name of each point beside it, at a place that no point and no other name covers, if there is one."""
    from matplotlib.transforms import Bbox

    axis.figure.draw_without_rendering()
    renderer = axis.figure.canvas.get_renderer()
    taken = [Bbox.from_bounds(x - 4, y - 4, 8, 8) for x, y in axis.transData.transform([one[:2] for one in points])]
    frame = axis.get_window_extent(renderer)
    for millions, score, name in points:
        for x, y, side in _PLACES:
            text = axis.annotate(
                shown(name), (millions, score), (x, y), textcoords="offset points", fontsize=8, ha=side, va="center"
            )
            box = text.get_window_extent(renderer)
            inside = frame.x0 <= box.x0 and box.x1 <= frame.x1 and frame.y0 <= box.y0 and box.y1 <= frame.y1
            if (inside and not any(box.overlaps(other) for other in taken)) or (x, y, side) == _PLACES[-1]:
                taken.append(box)
                break
            text.remove()


def remarks(rows: list[Row]) -> list[str]:
    """Lines on the models whose numbers are not comparable with published ones, and on those without a score."""
    found = []
    for origin in dict.fromkeys(row.origin for row in rows):
        names = [row.name for row in rows if row.origin == origin]
        if origin not in (PUBLISHED_ROW, OFFICIAL):
            found.append(f"{', '.join(names)}: {origin}. These numbers are not comparable with published ones.")
    for row in rows:
        missing = [task.upper() for task in TASKS if task_score(task, row.values.get(task, {}), LEADERBOARD) is None]
        if row.origin != PUBLISHED_ROW and missing:
            found.append(f"{row.name}: no score over all tasks, because there is no result for {', '.join(missing)}.")
        elif row.origin != PUBLISHED_ROW and not row.millions:
            found.append(f"{row.name}: not in the picture, because its number of parameters is 0 or not known.")
    return found


def _students(path: Path) -> list[Row]:
    """The models of a results.json."""

    def take(_: Path, content: Mapping[str, Any]) -> list[Row]:
        return [_row(name, entry, _origin(content)) for name, entry in content["students"].items()]

    return read_results(path, take)


def _origin(content: Mapping[str, Any]) -> str:
    """What the numbers of a results.json are of."""
    if content.get("synthetic") is True:
        return "synthetic speech"
    if content.get("preset") == "official":
        return OFFICIAL
    return "small settings" if content.get("preset") else "unknown settings"


def _row(name: str, student: Mapping[str, Any], origin: str) -> Row:
    cost = student.get("cost")
    values = {
        task: {metric: float(content["values"][metric]) for metric in TASKS[task].counted}
        for task, content in student["tasks"].items()
    }
    return Row(name, None if cost is None else float(cost["parameters"]) / 1e6, values, origin)


def _rounded(value: float | None) -> str:
    return "" if value is None else f"{value:.0f}"

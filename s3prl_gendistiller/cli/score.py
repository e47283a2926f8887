"""`gendistiller score`: the leaderboard's score of finished results, beside published models."""

from __future__ import annotations

import argparse
import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from s3prl_gendistiller.cli import arguments
from s3prl_gendistiller.outputs import check_writable
from s3prl_gendistiller.superb.entry.from_suite import read_results
from s3prl_gendistiller.superb.leaderboard.published_models import DRAWN_FROM, PUBLISHED, smallest_of_their_score
from s3prl_gendistiller.superb.leaderboard.scores import LEADERBOARD, overall_score, task_score
from s3prl_gendistiller.superb.models import BenchmarkedModel
from s3prl_gendistiller.superb.pictures import chart, cut_axes, legend, notes, shown
from s3prl_gendistiller.superb.suite.replicas import replicas
from s3prl_gendistiller.superb.suite.results import OFFICIAL, origin, stored_model
from s3prl_gendistiller.superb.suite.table import markdown
from s3prl_gendistiller.superb.tasks import TASKS

_DESCRIPTION = """\
The SUPERB leaderboard's score (FBANK 0, best of 2021 1000, mean of ten tasks), in all and by task, beside published
models. The score is comparable only for SUPERB's own corpora and settings (`gendistiller superb --preset official`)."""

_EXAMPLE = """\
example:
  gendistiller score result/superb                        # the results.json in it
  gendistiller score result/superb --out result/score.png # and a chart of score against size"""

PUBLISHED_ROW = "published"
"""The origin of published numbers; beside them only numbers of the origin `OFFICIAL` are comparable."""
_PLACES = (
    *((7, 0, "left"), (-7, 0, "right"), (0, 10, "center"), (0, -10, "center")),
    *((7, 10, "left"), (7, -10, "left"), (-7, 10, "right"), (-7, -10, "right"), (0, 21, "center"), (0, -21, "center")),
)
"""Places of a name beside its point, the best first: points to the right and above, and alignment."""


Values = Mapping[str, Mapping[str, float]]


class Row(NamedTuple):
    """One model, with the means over its runs.

    Attributes:
        values: task -> metric -> value.
        origin: what the values are of.
        runs: number of distillations and heads together; `spread` is the sample standard deviation of their scores.
    """

    name: str
    millions: float | None
    values: Values
    origin: str
    runs: int = 1
    spread: float | None = None

    @property
    def score(self) -> float | None:
        """The score over all ten tasks; None if one of them has no result."""
        return overall_score(self.values, LEADERBOARD)

    def score_text(self) -> str:
        if self.score is None or self.runs == 1:
            return _rounded(self.score)
        spread = "" if self.spread is None else f" ± {self.spread:.0f}"
        return f"{self.score:.0f}{spread} (n {self.runs})"


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
    for row in rows:
        points = [task_score(task, row.values.get(task, {}), LEADERBOARD) for task in TASKS]
        millions = "" if row.millions is None else f"{row.millions:.2f}"
        cells.append([row.name, millions, row.score_text(), *map(_rounded, points)])
    return markdown(cells)


def draw(rows: list[Row], out: Path) -> None:
    """Score against millions of parameters, of the models that have both; models of the user stand out."""
    lowest = {PUBLISHED_ROW: DRAWN_FROM}
    placed = sorted(
        (
            (score, row.millions, row)
            for row in rows
            if row.millions and (score := row.score) is not None and score >= lowest.get(row.origin, -math.inf)
        ),
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
            axis.errorbar(millions, score, yerr=row.spread, capsize=3, **style)
        sizes = [millions for _, millions, _ in placed] or [10.0]
        axis.set(xscale="log", xlim=(min(sizes) / 1.8, max(sizes) * 1.8))
        axis.set(xlabel="millions of parameters (logarithmic axis)", ylabel="SUPERB score (FBANK 0, best of 2021 1000)")
        ticks = [base * ten for ten in (0.01, 0.1, 1, 10, 100, 1000) for base in (1, 2, 5)]
        ticks = [tick for tick in ticks if min(sizes) / 1.8 <= tick <= max(sizes) * 1.8]
        axis.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        axis.minorticks_off()
        _write_names(axis, placed)
        legend(axis, entries)
        notes(axis, [*remarks(rows), *cut_axes([axis])])


def _write_names(axis: Any, placed: Sequence[tuple[float, float, Row]]) -> None:
    """Writes names and scores of the user's models, and of published ones that no smaller one exceeds.

    A name stands where no point, error bar or other name stands, if there is room.
    """
    from matplotlib.transforms import Bbox

    axis.figure.draw_without_rendering()
    renderer = axis.figure.canvas.get_renderer()
    taken = []
    for score, millions, row in placed:
        reach = row.spread or 0.0
        (x, low), (_, high) = axis.transData.transform([(millions, score - reach), (millions, score + reach)])
        taken.append(Bbox([[x - 4, low - 4], [x + 4, high + 4]]))
    frame = axis.get_window_extent(renderer)
    named = {model.name for model in smallest_of_their_score([one for one in PUBLISHED if one.score >= DRAWN_FROM])}
    for score, millions, row in placed:
        if row.origin == PUBLISHED_ROW and row.name not in named:
            continue  # more names than there is room for
        for x, y, side in _PLACES:
            text = axis.annotate(
                shown(f"{row.name} {row.score_text()}"),
                (millions, score),
                (x, y),
                textcoords="offset points",
                fontsize=8,
                ha=side,
                va="center",
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
    for kind in dict.fromkeys(row.origin for row in rows):
        names = [row.name for row in rows if row.origin == kind]
        if kind not in (PUBLISHED_ROW, OFFICIAL):
            found.append(f"{', '.join(names)}: {kind}. These numbers are not comparable with published ones.")
    if any(row.runs > 1 for row in rows):
        found.append("Error bars and ±: sample standard deviation over the n runs of a model (distillations, heads).")
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
        students: dict[str, list[BenchmarkedModel]] = {}
        for name, entry in content["students"].items():
            model = stored_model(name, entry)
            students.setdefault(model.group, []).append(model)
        return [_row(group, models, content) for group, models in students.items()]

    return read_results(path, take)


def _row(name: str, models: Sequence[BenchmarkedModel], content: Mapping[str, Any]) -> Row:
    cost = content["students"][models[0].name].get("cost")
    counting = replicas(models).models
    runs = [_values(content["students"][model.name]) for model in counting]
    values: dict[str, dict[str, float]] = {}
    for task in TASKS:
        found = [run[task] for run in runs if task in run]
        if found:
            values[task] = {key: statistics.fmean(one[key] for one in found) for key in found[0]}
    scores = [score for run in runs if (score := overall_score(run, LEADERBOARD)) is not None]
    spread = statistics.stdev(scores) if len(scores) == len(runs) > 1 else None
    millions = None if cost is None else float(cost["parameters"]) / 1e6
    return Row(name, millions, values, origin(content), len(runs), spread)


def _values(student: Mapping[str, Any]) -> Values:
    return {
        task: {metric: float(found["values"][metric]) for metric in TASKS[task].counted}
        for task, found in student["tasks"].items()
    }


def _rounded(value: float | None) -> str:
    return "" if value is None else f"{value:.0f}"

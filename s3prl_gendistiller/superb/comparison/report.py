"""The table of a comparison, with the lines that say what its intervals hold for."""

from __future__ import annotations

from collections.abc import Sequence

from s3prl_gendistiller.superb.comparison.compared import SIGNIFICANT, Compared, Student
from s3prl_gendistiller.superb.comparison.resampling import DRAWS
from s3prl_gendistiller.superb.suite.table import label, markdown


def as_markdown(first: Student, second: Student, rows: Sequence[Compared], lines: Sequence[str]) -> str:
    """A row for each metric, and notes below.

    Args:
        lines: notes on tasks that are not compared.
    """
    header = ["task", "items", "seeds", first.name, second.name, "difference", "95 % interval", "p", "p (Holm)"]
    cells = [[*header, f"{first.name} is"]]
    for row in rows:
        found = row.found
        values = [f"{value:.2f}" for value in found.values]
        interval = f"{found.low:+.2f} to {found.high:+.2f}"
        numbers = [f"{found.difference:+.2f}", interval, f"{found.p:.4f}", f"{row.corrected:.4f}"]
        drawn = [f"{found.items:,}", "{} / {}".format(*found.seeds)]
        cells.append([label(row.task, row.metric), *drawn, *values, *numbers, row.word])
    notes = [*_notes(first, second, rows), *lines]
    return markdown(cells) + "".join(f"\n{note}\n" for note in notes)


def _notes(first: Student, second: Student, rows: Sequence[Compared]) -> list[str]:
    count = f"{len(rows)} metrics" if len(rows) > 1 else "1 metric"
    found = [
        f"difference: {first.name} minus {second.name}. Interval: {DRAWS:,} draws of items (the same for both) and of "
        f"seeds. p: {DRAWS:,} exchanges of the two on each item; corrected for {count} by Holm's method.",
        f"better and worse: the interval lies on one side of 0, and p (Holm) is below {SIGNIFICANT:g}. level: no "
        "difference was shown, which does not show that there is none.",
    ]
    for student in (first, second):
        runs = student.runs
        if len(runs.models) == 1:
            found.append(f"{student.name} is one run: nothing is said about another seed of it.")
        elif runs.distillations == 1:
            what = f"{runs.heads} seeds of heads on one distillation"
            found.append(f"{student.name} is {what}: nothing is said about another distillation of it.")
        else:
            found.append(f"{student.name} is {runs.describe()}, and the seeds are its distillations.")
    if any(row.task.name == "asv" for row in rows):
        found.append("ASV: trials that share a recording are drawn one by one, which makes its interval too narrow.")
    if any(row.task.name == "qbe" for row in rows):
        found.append("QBE: the items that are drawn are queries, each with all documents.")
    return found

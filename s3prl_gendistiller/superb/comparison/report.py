"""The table of a comparison, with the lines that say what its intervals hold for."""

from __future__ import annotations

from collections.abc import Sequence

from s3prl_gendistiller.superb.comparison.compared import SIGNIFICANT, WORDS, Compared, LeftOut, Student
from s3prl_gendistiller.superb.comparison.resampling import DRAWS
from s3prl_gendistiller.superb.suite.table import label, markdown


def as_markdown(first: Student, second: Student, rows: Sequence[Compared], left_out: Sequence[LeftOut]) -> str:
    """A line that says what follows, a row for each metric, and notes below."""
    cells = [["task", *header(first.name, second.name), f"{first.name} is"]]
    cells += [[label(row.task, row.metric), *numbers(row), row.word] for row in rows]
    count = f"{len(rows)} metrics" if len(rows) > 1 else "1 metric"
    notes = [*method(first.name, second.name, count, rows), of_runs(first), of_runs(second), *reasons(left_out)]
    texts = [summary(first.name, second.name, rows), markdown(cells), *notes]
    return "\n".join(f"{text.rstrip()}\n" for text in texts)


def summary(first: str, second: str, rows: Sequence[Compared]) -> str:
    """A line that names the metrics on which the first is better, worse and level."""
    if not rows:
        return f"{first} against {second}: no metric is compared by its items."
    parts = []
    for word in WORDS:
        labels = [label(row.task, row.metric) for row in rows if row.word == word]
        parts.append(f"{word} on {', '.join(labels) or 'none'}")
    return f"{first} against {second}: {'; '.join(parts)}."


def header(first: str, second: str) -> list[str]:
    """Heads of `numbers`."""
    return ["items", "seeds", first, second, "difference", "95 % interval", "p", "p (Holm)"]


def numbers(row: Compared) -> list[str]:
    """Numbers of items and seeds, the two values and their difference, its interval and its p values."""
    found = row.found
    values = [f"{value:.2f}" for value in found.values]
    interval = f"{found.low:+.2f} to {found.high:+.2f}"
    drawn = [f"{found.items:,}", "{} / {}".format(*found.seeds)]
    return [*drawn, *values, f"{found.difference:+.2f}", interval, f"{found.p:.4f}", f"{row.corrected:.4f}"]


def method(first: str, second: str, corrected_for: str, rows: Sequence[Compared]) -> list[str]:
    """Lines on where the numbers come from, and on what the words mean.

    Args:
        corrected_for: what Holm's method corrects for, as in "10 metrics".
    """
    found = [
        f"difference: {first} minus {second}. Interval: {DRAWS:,} draws of items (the same for both) and of seeds. p: "
        f"{DRAWS:,} exchanges of the two on each item. p (Holm): p corrected for {corrected_for} by Holm's method.",
        f"better and worse: the interval lies on one side of 0, and p (Holm) is below {SIGNIFICANT:g}. level: no "
        "difference was shown, which does not show that there is none.",
    ]
    if any(2 in row.found.seeds for row in rows):
        found.append(
            "Two seeds say little about a spread, so that their intervals are wide; a third seed narrows them."
        )
    if any(row.task.name == "qbe" for row in rows):
        found.append("QBE: its items are the queries, each of which is drawn with all documents.")
    if any(row.task.name == "asv" for row in rows):
        found.append("ASV: trials that share a recording are drawn one by one, which makes its interval too narrow.")
    return found


def of_runs(student: Student) -> str:
    """A line on the runs of a student, and on what they say nothing about."""
    runs = student.runs
    if len(runs.models) == 1:
        return f"{student.name} is one run: nothing is said about another seed of it."
    if runs.distillations == 1:
        what = f"{runs.heads} seeds of heads on one distillation"
        return f"{student.name} is {what}: nothing is said about another distillation of it."
    return f"{student.name} is {runs.describe()}, and the seeds are its distillations."


def reasons(left_out: Sequence[LeftOut]) -> list[str]:
    """A line for each reason not to compare tasks, with these tasks."""
    tasks: dict[str, list[str]] = {}
    for one in left_out:
        tasks.setdefault(one.reason, []).append(one.task.name.upper())
    found = ((f"{', '.join(names)} {'are' if len(names) > 1 else 'is'}", reason) for reason, names in tasks.items())
    return [f"{which} not compared: {reason}" for which, reason in found]

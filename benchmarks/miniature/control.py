"""Each form beside a control form on each metric, by the statistics of `gendistiller superb --compare`.

A metric whose items were not kept is compared over seeds alone: whether every seed of the form is on one side of every
seed of the control. That has no interval and no p value, and the words better, worse and level are not used for it.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from miniature.scores import DISTANCE, Form, scores
from s3prl_gendistiller.superb.comparison.compared import Compared, LeftOut, compare_students, student
from s3prl_gendistiller.superb.comparison.report import header, method, numbers, summary
from s3prl_gendistiller.superb.suite.table import label, markdown
from s3prl_gendistiller.superb.tasks import Metric, Task

APART, NOT_APART, ONE_SEED = "apart over seeds", "not apart over seeds", "one seed"


def control_table(
    results: Mapping[str, Any],
    suite: Path,
    forms: Mapping[str, Form],
    control: str,
    shown: Sequence[tuple[Task, Metric]],
) -> str:
    """For each form but the control a line on where it is better and worse, and a row for each metric.

    Args:
        results: content of results.json of the folder `suite`.
        shown: the metrics that are compared, over seeds alone where their items were not kept.
    """
    tasks = list({task.name: task for task, _ in shown}.values())
    base, theirs = student(control, forms[control].students, results, suite), forms[control]
    rows = [["form", "metric", *header("the form's", f"{control}'s"), "the form is"]]
    lines, notes, compared = [], [], []
    for name, ours in forms.items():
        if name == control:
            continue
        found, left_out = compare_students(student(name, ours.students, results, suite), base, tasks)
        compared += found
        lines.append(summary(name, control, found))
        rows += [[name, *row] for row in _rows(results, ours, theirs, found, shown)]
        notes += _reasons(name, [one for one in left_out if _both(results, ours, theirs, one.task)])
    single = [name for name, form in forms.items() if len(form.students) == 1]
    if single:
        what = "one run: nothing is said about another seed of it."
        notes.insert(0, f"{', '.join(single)}: {what}")
    rule = f"{APART}: every seed of the form is on one side of every seed of {control}. Metrics without items and the "
    rule += f"{DISTANCE} are compared in this way, which is no test."
    corrected_for = "the metrics of each form, not for the number of forms,"
    texts = [
        *lines,
        markdown(rows),
        *(method("the form", control, corrected_for, compared) if compared else []),
        rule,
        *notes,
    ]
    return "\n".join(f"{text.rstrip()}\n" for text in texts)


def over_seeds(ours: Sequence[float], theirs: Sequence[float], decimals: int) -> list[str]:
    """Numbers of seeds, the two means, their difference, and the word, for values of two forms by seed."""
    first, second = statistics.fmean(ours), statistics.fmean(theirs)
    word = APART if max(ours) < min(theirs) or min(ours) > max(theirs) else NOT_APART
    values = [f"{first:.{decimals}f}", f"{second:.{decimals}f}", f"{first - second:+.{decimals}f}"]
    enough = min(len(ours), len(theirs)) > 1
    return [f"{len(ours)} / {len(theirs)}", *values, word if enough else ONE_SEED]


def _rows(
    results: Mapping[str, Any],
    ours: Form,
    theirs: Form,
    found: Sequence[Compared],
    shown: Sequence[tuple[Task, Metric]],
) -> Iterator[list[str]]:
    """The rows of one form, without its name."""
    if ours.distances and theirs.distances:
        yield [f"{DISTANCE} ↓", *_untested(ours.distances, theirs.distances, 4)]
    tested = {(row.task.name, row.metric.key): row for row in found}
    metrics = {(task.name, metric.key): (task, metric) for task, metric in shown}
    metrics |= {key: (row.task, row.metric) for key, row in tested.items()}
    order = [task.name for task, _ in shown]
    for key, (task, metric) in sorted(metrics.items(), key=lambda entry: order.index(entry[0][0])):
        row = tested.get(key)
        first, second = (scores(results, form.students, task, metric) for form in (ours, theirs))
        if row is not None:
            yield [label(task, metric), *numbers(row), row.word]
        elif first and second:
            yield [label(task, metric), *_untested(first, second, 2)]


def _untested(ours: Sequence[float], theirs: Sequence[float], decimals: int) -> list[str]:
    """The cells of `report.header` and the word, without items, interval and p values."""
    *values, word = over_seeds(ours, theirs, decimals)
    return ["", *values, "", "", "", word]


def _both(results: Mapping[str, Any], ours: Form, theirs: Form, task: Task) -> bool:
    """Whether both forms have a result of a task."""
    return all(scores(results, form.students, task, task.metrics[0]) for form in (ours, theirs))


def _reasons(name: str, left_out: Sequence[LeftOut]) -> list[str]:
    """A note on the tasks of a form that are compared over seeds alone, with the first of the reasons."""
    if not left_out:
        return []
    tasks = list(dict.fromkeys(one.task.name.upper() for one in left_out))
    more = f"; {len(left_out) - 1} more like this" if len(left_out) > 1 else ""
    return [f"{name}: {', '.join(tasks)} over seeds alone ({left_out[0].reason}{more})"]

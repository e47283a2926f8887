"""results.json of a suite, read strictly, whoever has written in it since, and added to by later commands."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from s3prl_gendistiller.documents import read_json
from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.superb.checks import (
    AMOUNT,
    COUNT,
    MAPPING,
    NUMBER,
    NUMBERS,
    OTHER,
    TEXT,
    TEXTS,
    TRIALS,
    one_of,
    or_null,
    shown,
    unquoted,
    value_problem,
    wrong,
)
from s3prl_gendistiller.superb.cost.costs import Cost
from s3prl_gendistiller.superb.models import FEATURES, NAME, Student
from s3prl_gendistiller.superb.suite.runs import Outcome
from s3prl_gendistiller.superb.suite.suite import Suite
from s3prl_gendistiller.superb.suite.table import RESULTS
from s3prl_gendistiller.superb.tasks import PRESETS, TASKS

SHOWN = 3
Results = dict[str, dict[str, Outcome]]
Costs = dict[str, Cost]


def read_content(path: Path) -> dict[str, Any]:
    """What a results.json says, with every name, type and number checked.

    Raises:
        UserError: names the file and the first entries that `gendistiller superb` would not have written.
    """
    content = read_json(path)
    found = list(_problems(content))
    if found:
        more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
        raise UserError(
            f"{path}: not readable as results of `gendistiller superb`: {'; '.join(found[:SHOWN])}{more}; correct the "
            "file, or remove it and repeat that command, which writes it again from the finished runs"
        )
    return dict(content)


def require_same_settings(suite: Suite) -> None:
    """
    Raises:
        UserError: the suite's folder holds results that do not belong into one table with those that are asked for.
    """
    path = suite.out / RESULTS
    if not path.is_file():
        return
    content = read_content(path)
    for name in ("preset", "features", "seed"):
        before, now = content.get(name, getattr(suite, name)), getattr(suite, name)
        if before != now:
            raise UserError(
                f"{path}: was made with another {name} (found {before}, now {now}); give another --out, since a table "
                "has one"
            )


def merged(suite: Suite, results: Mapping[str, Mapping[str, Outcome]], costs: Mapping[str, Cost]) -> tuple[Any, ...]:
    """A suite's results among those that its folder holds: students and tasks of earlier commands stay.

    Returns:
        The suite with all students and tasks (`Suite`), and the results and costs of all (`Results`, `Costs`).

    Raises:
        UserError: as `read_content`.
    """
    path = suite.out / RESULTS
    kept = read_content(path)["students"] if path.is_file() else {}
    students = {name: _student(name, entry) for name, entry in kept.items()}
    students |= {student.name: student for student in suite.students}
    all_results: Results = {
        name: {
            **{task: _outcome(one) for task, one in kept.get(name, {}).get("tasks", {}).items()},
            **results.get(name, {}),
        }
        for name in students
    }
    all_costs = {name: Cost(**entry["cost"]) for name, entry in kept.items() if entry.get("cost")} | dict(costs)
    finished = {task for tasks in all_results.values() for task in tasks} | {task.name for task in suite.tasks}
    tasks = [task for name, task in TASKS.items() if name in finished]
    return replace(suite, students=list(students.values()), tasks=tasks), all_results, all_costs


def _student(name: str, entry: Mapping[str, Any]) -> Student:
    checkpoint = entry.get("checkpoint")
    return Student(
        name, entry.get("upstream", ""), None if checkpoint is None else Path(checkpoint), entry.get("steps")
    )


def _outcome(entry: Mapping[str, Any]) -> Outcome:
    known = {one.name for one in fields(Outcome)}
    found = Outcome(**{key: value for key, value in entry.items() if key in known})
    found.dev = {key: math.nan if value is None else value for key, value in found.dev.items()}
    return found


def _problems(content: Any) -> Iterator[str]:
    if not isinstance(content, dict) or not isinstance(content.get("students"), dict):
        yield "found no mapping of students in it"
        return
    yield from wrong(content, "", preset=one_of(PRESETS), features=one_of(FEATURES), seed=COUNT)
    for name, entry in content["students"].items():
        where = f"students.{unquoted(name)}"
        if not NAME.fullmatch(name):
            yield f"{where[:80]}: found a name that is none of a student"
        elif not isinstance(entry, dict) or not isinstance(entry.get("tasks"), dict):
            yield f"{where}: found no mapping of tasks in it"
        else:
            yield from _of_student(where, entry)


def _of_student(where: str, entry: Mapping[str, Any]) -> Iterator[str]:
    checks = {"upstream": TEXT, "checkpoint": or_null(TEXT), "steps": or_null(COUNT), "score": or_null(NUMBER)}
    yield from wrong(entry, where, cost=or_null(MAPPING), **checks)
    if isinstance(cost := entry.get("cost"), dict):
        yield from wrong(cost, f"{where}.cost", parameters=COUNT, gmacs_per_s=AMOUNT, cpu_s_per_s=AMOUNT)
        yield from (f"{where}.cost.{one.name}: missing" for one in fields(Cost) if one.name not in cost)
        yield from (f"{where}.cost.{shown(key)}: unknown" for key in cost if key not in Cost.__dataclass_fields__)
    for name, outcome in entry["tasks"].items():
        if name not in TASKS:
            yield f"{where}.tasks: found {shown(name)}, expected {', '.join(TASKS)}"
        elif not isinstance(outcome, dict) or not isinstance(outcome.get("values"), dict):
            yield f"{where}.tasks.{name}: found no mapping of values in it"
        else:
            yield from _of_outcome(f"{where}.tasks.{name}", name, outcome)


def _of_outcome(where: str, task: str, outcome: Mapping[str, Any]) -> Iterator[str]:
    known = TASKS[task]
    metrics = {metric.key: metric for metric in (*known.metrics, *([known.lm_metric] if known.lm_metric else []))}
    values = outcome["values"]
    yield from (f"{where}.values.{key}: missing" for key in known.counted if key not in values)
    for key, value in values.items():
        problem = value_problem(metrics.get(key, OTHER), value)
        if problem:
            yield f"{where}.values.{unquoted(key)}: {problem}"
    checks = {"lr": or_null(AMOUNT), "layer": or_null(COUNT), "seconds": AMOUNT, "fallback": or_null(TEXT)}
    yield from wrong(outcome, where, folders=TEXTS, dev=NUMBERS, trials=TRIALS, **checks)

"""The rows and columns of a board's table as plain data: published models, and the students of suites."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from s3prl_gendistiller.student_kinds import student_upstreams
from s3prl_gendistiller.superb.board.suites import FinishedSuite
from s3prl_gendistiller.superb.cost.leaderboard_protocol import SECONDS
from s3prl_gendistiller.superb.leaderboard.published_models import PUBLISHED, PublishedModel
from s3prl_gendistiller.superb.leaderboard.scores import LEADERBOARD, overall_score
from s3prl_gendistiller.superb.models import BenchmarkedModel
from s3prl_gendistiller.superb.suite.replicas import replicas
from s3prl_gendistiller.superb.suite.results import values_of
from s3prl_gendistiller.superb.suite.table import Cell, numbers
from s3prl_gendistiller.superb.tasks import TASKS, Metric, Task

YOURS, REFERENCE, PUBLISHED_KIND = "yours", "reference", "published"
COMPARABLE = "comparable"
"""The group of published rows, and of students with SUPERB's own settings on SUPERB's own corpora."""


def key(task: Task, metric: Metric) -> str:
    return f"{task.name}.{metric.key}"


def columns(suites: Sequence[FinishedSuite]) -> list[dict[str, Any]]:
    """The columns of all metrics that a row has: those of the leaderboard, and others of the suites."""
    found = {
        f"{task}.{metric}"
        for one in suites
        for outcomes in one.results.values()
        for task, outcome in outcomes.items()
        for metric in outcome.values
    }
    shown = []
    for task in TASKS.values():
        for metric in metrics(task):
            if metric.key in task.counted or key(task, metric) in found:
                shown.append(
                    {
                        "key": key(task, metric),
                        "task": task.name.upper(),
                        "title": task.title,
                        "label": metric.label,
                        "higher": metric.higher_is_better,
                    }
                )
    return shown


def metrics(task: Task) -> tuple[Metric, ...]:
    return (*task.metrics, *([task.lm_metric] if task.lm_metric else []))


def groups(suites: Sequence[FinishedSuite]) -> list[dict[str, Any]]:
    """The groups of rows, within which numbers are comparable; a group with published rows alone comes last."""
    apart = [
        {
            "id": one.label,
            "title": f"{one.label}: {one.origin}, not comparable with published rows",
            "short": one.label,
            "comparable": False,
        }
        for one in suites
        if not one.comparable
    ]
    mixed = any(one.comparable for one in suites)
    title = "Published rows, and students with SUPERB's own settings and corpora" if mixed else "Published rows"
    short = "published and official rows" if mixed else "published rows"
    published = {"id": COMPARABLE, "title": title, "short": short, "comparable": True}
    return [published, *apart] if mixed else [*apart, published]


def rows(suites: Sequence[FinishedSuite]) -> list[dict[str, Any]]:
    """The rows of all suites, then published ones. `id` is the place of a row in the list."""
    found = [*(row for one in suites for row in suite_rows(one)), *published_rows()]
    return [{"id": number, **row} for number, row in enumerate(found)]


def published_rows() -> Iterator[dict[str, Any]]:
    for model in PUBLISHED:
        yield {
            "name": model.name,
            "kind": PUBLISHED_KIND,
            "group": COMPARABLE,
            "suite": "",
            "preset": PUBLISHED_KIND,
            "features": "as published",
            "runs": "",
            "parameters": round(model.million_parameters * 1e6),
            "macs": None if model.gmacs is None else model.gmacs / SECONDS,
            "cpu": None,
            "score": _plain(Cell([model.score], 0)),
            "cells": _published_cells(model),
            "source": {"words": _origin_of_score(model), "link": model.source.link},
            "steps": None,
            "family": "",
            "notes": [],
        }


def suite_rows(one: FinishedSuite) -> Iterator[dict[str, Any]]:
    """One row for each student of a suite, over its distillations and seeds of heads."""
    for group, models in one.suite.groups().items():
        runs = replicas(models)
        cells = {
            key(task, metric): _plain(cell)
            for task in one.suite.tasks
            for metric in metrics(task)
            if (cell := Cell(numbers(one.results, runs.models, task, metric))).values
        }
        cost = one.costs.get(models[0].name)
        repeated = [
            f"{model.name} is the same model as {first.name} and does not count." for model, first in runs.repeated
        ]
        yield {
            "name": group,
            "kind": kind_of(models[0]),
            "group": COMPARABLE if one.comparable else one.label,
            "suite": one.label,
            "preset": one.suite.preset,
            "features": one.suite.features,
            "runs": runs.describe(),
            "count": len(runs.models),
            "parameters": None if cost is None else cost.parameters,
            "macs": None if cost is None else cost.gmacs_per_s,
            "cpu": None if cost is None else cost.cpu_s_per_s,
            "score": _plain(Cell(_scores(one, runs.models), 0)),
            "cells": cells,
            "source": {"words": f"{one.label} ({one.origin})", "link": None},
            "steps": models[0].steps,
            "family": _family(one, models),
            "notes": repeated,
        }


def kind_of(model: BenchmarkedModel) -> str:
    """`YOURS` for a student of ours, and where an early version of the suite did not name the upstream."""
    return YOURS if model.upstream in ("", *student_upstreams()) else REFERENCE


def _scores(one: FinishedSuite, models: Sequence[BenchmarkedModel]) -> list[float]:
    """The leaderboard's score where it holds, else the score of the suite, whose references are its own."""
    if one.comparable:
        found = [overall_score(values_of(one.results[model.name]), LEADERBOARD) for model in models]
    else:
        found = [one.scores[model.name] for model in models]
    return [score for score in found if score is not None]


def _family(one: FinishedSuite, models: Sequence[BenchmarkedModel]) -> str:
    """Equal for rows of the same checkpoints that generate different numbers of layers; empty without checkpoints."""
    paths = sorted({str(model.checkpoint) for model in models if model.checkpoint is not None})
    return "\n".join([one.label, *paths]) if paths else ""


def _origin_of_score(model: PublishedModel) -> str:
    return model.source.words if model.published is not None else f"{model.source.words}; score computed from the row"


def _published_cells(model: PublishedModel) -> dict[str, dict[str, Any] | None]:
    return {
        f"{task}.{metric}": _plain(Cell([v])) for task, found in model.values.items() for metric, v in found.items()
    }


def _plain(cell: Cell) -> dict[str, Any] | None:
    """Mean, sample standard deviation and number of values; None for no value."""
    if cell.mean is None:
        return None
    spread: Mapping[str, float] = {} if cell.spread is None else {"sd": cell.spread}
    return {"mean": cell.mean, **spread, "n": len(cell.values), "decimals": cell.decimals}

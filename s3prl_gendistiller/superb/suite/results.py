"""results.json of a suite: its writer, and its reader, which checks every entry.

Later commands add models and tasks to the file, and its user may have edited it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from s3prl_gendistiller.documents import read_json
from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.outputs import write_text
from s3prl_gendistiller.superb import checks
from s3prl_gendistiller.superb.checks import one_line, or_null, unquoted, wrong
from s3prl_gendistiller.superb.cost.multiply_adds import Cost
from s3prl_gendistiller.superb.leaderboard.scores import References, overall_score, scored_tasks
from s3prl_gendistiller.superb.models import FEATURES, NAME, BenchmarkedModel
from s3prl_gendistiller.superb.suite.record import finite
from s3prl_gendistiller.superb.suite.suite import Suite
from s3prl_gendistiller.superb.tasks import PRESETS, TASKS

RESULTS = "results.json"
OFFICIAL = "official settings"
SHOWN = 3
"""Number of wrong entries that a message names."""


@dataclass
class Outcome:
    """The results of one model on one task.

    Attributes:
        values: metric -> number in the unit of its label, the mean over folds.
        lr: the learning rate that was chosen; None for the configuration's own.
        layer: QbE's best layer.
        dev: learning rate (or layer) -> its last value on dev.
        folders: experiment folders of the runs behind the values, which took `seconds`.
        fallback: the reason, if another checkpoint than the best on dev was tested.
        trials: values of successive halving, learning rate -> number of steps -> value on dev.
    """

    values: dict[str, float]
    lr: float | None = None
    layer: int | None = None
    dev: dict[str, float] = field(default_factory=dict)
    folders: list[str] = field(default_factory=list)
    seconds: float = 0.0
    fallback: str | None = None
    trials: dict[str, dict[str, float]] = field(default_factory=dict)


Results = dict[str, dict[str, Outcome]]
"""Model -> task -> outcome."""


def write_results(
    suite: Suite, results: Results, failures: Sequence[str], references: References | None, costs: Mapping[str, Cost]
) -> dict[str, float | None]:
    """Writes results.json whole, and returns the scores by model.

    Args:
        references: the references of the score; None for a suite without a score.
        costs: the costs by model; a model may be missing.
    """
    scores = {
        name: None if references is None else overall_score(values_of(outcomes), references, suite.preset)
        for name, outcomes in results.items()
    }
    names = [task.name for task in suite.tasks]
    content = {
        "preset": suite.preset,
        "features": suite.features,
        "seed": suite.seed,
        **({"synthetic": True} if suite.synthetic else {}),
        "students": {
            model.name: {
                "kind": model.group,
                "upstream": model.upstream,
                "checkpoint": None if model.checkpoint is None else str(model.checkpoint),
                "steps": model.steps,
                **({} if model.head_seed is None else {"seed": model.head_seed}),
                "score": scores[model.name],
                "cost": asdict(costs[model.name]) if model.name in costs else None,
                "tasks": {name: _plain(found) for name in names if (found := results[model.name].get(name))},
            }
            for model in suite.models
        },
        "scored_tasks": None if references is None else scored_tasks(references),
        "failures": list(failures),
    }
    write_text(suite.out / RESULTS, json.dumps(content, indent=2, allow_nan=False) + "\n")
    return scores


def values_of(outcomes: Mapping[str, Outcome]) -> dict[str, dict[str, float]]:
    """Task -> metric -> value."""
    return {task: outcome.values for task, outcome in outcomes.items()}


def _plain(outcome: Outcome) -> dict[str, Any]:
    """An outcome for JSON; a learning rate that diverged has null on dev in place of NaN."""
    content = asdict(outcome)
    for reached in (content["dev"], *content["trials"].values()):
        reached.update({key: finite(value) for key, value in reached.items()})
    return content


def read_content(path: Path) -> dict[str, Any]:
    """The content of a results.json, with every name, type and number checked; UserError for any wrong entry."""
    content = read_json(path)
    if found := list(_problems(content)):
        more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
        raise UserError(
            f"{path}: not readable as results of `gendistiller superb`: {'; '.join(found[:SHOWN])}{more}; correct the "
            "file, or remove it and repeat that command, which writes it again from the finished runs"
        )
    return dict(content)


def seed_of_folder(folder: Path) -> int | None:
    """The seed of the results in a suite's folder; None without results."""
    path = folder / RESULTS
    seed: int | None = read_content(path).get("seed") if path.is_file() else None
    return seed


def require_same_settings(suite: Suite) -> None:
    """UserError if the suite's folder holds results of another preset, other features or another seed."""
    path = suite.out / RESULTS
    if not path.is_file():
        return
    content = read_content(path)
    for name in ("preset", "features", "seed"):
        before, now = content.get(name, getattr(suite, name)), getattr(suite, name)
        if before != now:
            found = f"was made with another {name} (found {before}, now {now})"
            remedy = f"give another --out, because one table has one {name}"
            if name == "seed":
                remedy = f"give --seeds {before} {now} for both in one table, or another --out"
            raise UserError(f"{path}: {found}; {remedy}")


def merged(suite: Suite, results: Results, costs: Mapping[str, Cost]) -> tuple[Suite, Results, dict[str, Cost]]:
    """A suite, its results and its costs, with the models and tasks that earlier commands left in its folder."""
    path = suite.out / RESULTS
    content = read_content(path) if path.is_file() else {"students": {}}
    synthetic = suite.synthetic or content.get("synthetic") is True
    kept_models, kept, kept_costs = stored(content)
    models = {model.name: model for model in (*kept_models, *suite.models)}
    all_results: Results = {name: {**kept.get(name, {}), **results.get(name, {})} for name in models}
    all_costs = kept_costs | dict(costs)
    finished = {task for tasks in all_results.values() for task in tasks} | {task.name for task in suite.tasks}
    tasks = [task for name, task in TASKS.items() if name in finished]
    return replace(suite, models=list(models.values()), tasks=tasks, synthetic=synthetic), all_results, all_costs


def stored(content: Mapping[str, Any]) -> tuple[list[BenchmarkedModel], Results, dict[str, Cost]]:
    """The models of a results.json, their outcomes, and the costs of those models that have one."""
    entries = content["students"]
    models = [stored_model(name, entry) for name, entry in entries.items()]
    results = {name: {task: _outcome(one) for task, one in entry["tasks"].items()} for name, entry in entries.items()}
    return models, results, {name: Cost(**entry["cost"]) for name, entry in entries.items() if entry.get("cost")}


def origin(content: Mapping[str, Any]) -> str:
    """What the numbers of a results.json are of; only those of `OFFICIAL` are comparable with published numbers."""
    if content.get("synthetic") is True:
        return "synthetic speech"
    if content.get("preset") == "official":
        return OFFICIAL
    return f"{content['preset']} settings" if content.get("preset") else "unknown settings"


def stored_model(name: str, entry: Mapping[str, Any]) -> BenchmarkedModel:
    """The model of an entry of ``students``."""
    checkpoint = entry.get("checkpoint")
    checkpoint = None if checkpoint is None else Path(checkpoint)
    return BenchmarkedModel(name, entry.get("upstream", ""), checkpoint, entry.get("steps"))


def _outcome(entry: Mapping[str, Any]) -> Outcome:
    known = {one.name for one in fields(Outcome)}
    found = Outcome(**{key: value for key, value in entry.items() if key in known})
    found.dev = {key: math.nan if value is None else value for key, value in found.dev.items()}
    return found


def _problems(content: Any) -> Iterator[str]:
    if not isinstance(content, dict) or not isinstance(content.get("students"), dict):
        yield "found no mapping of students in it"
        return
    yield from wrong(content, "", preset=checks.one_of(PRESETS), features=checks.one_of(FEATURES), seed=checks.COUNT)
    for name, entry in content["students"].items():
        where = f"students.{unquoted(name)}"
        if not NAME.fullmatch(name):
            yield f"{where[:80]}: found a name that no student can have"
        elif not isinstance(entry, dict) or not isinstance(entry.get("tasks"), dict):
            yield f"{where}: found no mapping of tasks in it"
        else:
            yield from _of_model(where, entry)


def _of_model(where: str, entry: Mapping[str, Any]) -> Iterator[str]:
    text, count = or_null(checks.TEXT), or_null(checks.COUNT)
    cost_or_null, score = or_null(checks.MAPPING), or_null(checks.NUMBER)
    yield from wrong(entry, where, cost=cost_or_null, upstream=checks.TEXT, checkpoint=text, steps=count, score=score)
    yield from wrong(entry, where, seed=checks.COUNT)
    if isinstance(cost := entry.get("cost"), dict):
        yield from wrong(
            cost, f"{where}.cost", parameters=checks.COUNT, gmacs_per_s=checks.AMOUNT, cpu_s_per_s=checks.AMOUNT
        )
        yield from (f"{where}.cost.{one.name}: missing" for one in fields(Cost) if one.name not in cost)
        yield from (f"{where}.cost.{one_line(key)}: unknown" for key in cost if key not in Cost.__dataclass_fields__)
    for name, outcome in entry["tasks"].items():
        if name not in TASKS:
            yield f"{where}.tasks: found {one_line(name)}, expected {', '.join(TASKS)}"
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
        if problem := checks.value_problem(metrics.get(key, checks.OTHER), value):
            yield f"{where}.values.{unquoted(key)}: {problem}"
    yield from wrong(outcome, where, folders=checks.TEXTS, dev=checks.NUMBERS, trials=checks.TRIALS)
    rate, layer, text = or_null(checks.AMOUNT), or_null(checks.COUNT), or_null(checks.TEXT)
    yield from wrong(outcome, where, lr=rate, layer=layer, seconds=checks.AMOUNT, fallback=text)

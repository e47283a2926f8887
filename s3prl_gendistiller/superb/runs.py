"""Runs a suite: chooses learning rates, trains and tests; what is finished (see `trial`) is never done twice."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from typing import Any

from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.superb import metrics, trial
from s3prl_gendistiller.superb.decoding import LM_METRIC
from s3prl_gendistiller.superb.plan import Layers, Suite, layer_run, trained_runs
from s3prl_gendistiller.superb.search import Trials, budgets, halve
from s3prl_gendistiller.superb.students import Student
from s3prl_gendistiller.superb.tasks import Task
from s3prl_gendistiller.superb.trial import Launch

LM_PART = "tested_lm"
Dev = dict[str, float]

logger = logging.getLogger(__name__)


@dataclass
class Outcome:
    """One student on one task.

    Attributes:
        values: metric -> number in the unit of its label, the mean over folds.
        lr: the learning rate that was chosen; None for the configuration's own.
        layer: QbE's.
        dev: learning rate (or layer) -> what it reached on dev.
        folders: of the runs behind it.
        seconds: that they took.
        fallback: why another checkpoint than the best on dev was tested, if one was.
        trials: of a search that trains in parts, learning rate -> steps -> what it reached on dev.
    """

    values: dict[str, float]
    lr: float | None = None
    layer: int | None = None
    dev: dict[str, float] = field(default_factory=dict)
    folders: list[str] = field(default_factory=list)
    seconds: float = 0.0
    fallback: str | None = None
    trials: dict[str, dict[str, float]] = field(default_factory=dict)


def run_suite(
    suite: Suite, launch: Launch, layers: Layers, jobs: int = 1
) -> tuple[dict[str, dict[str, Outcome]], list[str]]:
    """Runs what is missing.

    Args:
        launch: see `Launch`.
        layers: by student, those that QbE looks at.
        jobs: how many runs at a time.

    Returns:
        Student -> task -> outcome, and one line for each run that failed.
    """
    results: dict[str, dict[str, Outcome]] = {student.name: {} for student in suite.students}
    failures: list[str] = []
    strands = [(task, students) for students in suite.kinds().values() for task in suite.tasks]
    strands.sort(key=lambda strand: -strand[0].cost)
    pool = ThreadPoolExecutor(max_workers=jobs)
    futures = {
        pool.submit(_run_strand, suite, task, students, launch, layers): (task, students) for task, students in strands
    }
    try:
        for future in as_completed(futures):
            task, students = futures[future]
            found, problems = future.result()
            for name, outcome in found.items():
                results[name][task.name] = outcome
            failures += problems
    finally:
        pool.shutdown(wait=False, cancel_futures=True)  # when interrupted, whoever launches ends what is running
    return results, failures


def _run_strand(
    suite: Suite, task: Task, students: Sequence[Student], launch: Launch, layers: Layers
) -> tuple[dict[str, Outcome], list[str]]:
    """All seeds of one kind on one task: the learning rate is chosen with the first and then fixed."""
    found: dict[str, Outcome] = {}
    problems: list[str] = []

    def attempt(student: Student, work: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return work(suite, student, task, launch, *arguments)
        except UserError as error:
            problems.append(f"{student.name} on {task.name}: {error}")
            logger.error("%s", problems[-1])
            return None

    searched = attempt(students[0], _search)
    for student in students if searched is not None else ():
        if task.trained:
            outcome = attempt(student, _train_and_test, *searched)
        else:
            outcome = attempt(student, _best_layer, layers[student.name])
        if outcome is not None:
            found[student.name] = outcome
    return found, problems


def _search(suite: Suite, student: Student, task: Task, launch: Launch) -> tuple[float | None, Dev, Trials]:
    """The learning rate that is best on dev, what each reached at last, and after which steps if trained in parts."""
    rates = suite.candidates(task)
    higher = metrics.dev_is_higher_better(task)
    if len(rates) == 1:
        return rates[0], {}, {}

    def measure(rate: float | None, steps: int | None) -> float:
        run = trained_runs(suite, student, task, rate)[0]
        value = trial.dev_value(run, launch) if steps is None else trial.dev_value_after(run, launch, steps)
        logger.info("%s %s: %.2f on dev%s", student.name, run.name, value, f" after {steps} steps" if steps else "")
        return value

    if suite.halving:
        listed = [rate for rate in rates if rate is not None]
        best, trials = halve(listed, budgets(suite.content(task), task.name), measure, higher)
        return best, {f"{rate:g}": list(reached.values())[-1] for rate, reached in trials.items()}, trials
    dev = {rate: measure(rate, None) for rate in rates}
    choose = max if higher else min
    return choose(dev, key=lambda rate: dev[rate]), {f"{rate:g}": value for rate, value in dev.items()}, {}


def _train_and_test(
    suite: Suite, student: Student, task: Task, launch: Launch, lr: float | None, dev: Dev, trials: Trials
) -> Outcome:
    records, runs = [], trained_runs(suite, student, task, lr)
    for run in runs:
        trial.train(run, launch)
        records.append(trial.test(run, launch))
        if suite.metrics(task) != task.metrics:
            records[-1] = trial.test(run, launch, part=LM_PART, lm=suite.lm)
    tested = [record["tested"] for record in records]
    values = {key: sum(part["values"][key] for part in tested) / len(tested) for key in tested[0]["values"]}
    if suite.metrics(task) != task.metrics:
        values[LM_METRIC.key] = records[0][LM_PART]["values"]["wer"]
    fallback = next((part["fallback"] for part in tested if part["fallback"]), None)
    logger.info("%s %s: %s", student.name, task.name, _in_words(suite, task, values))
    return Outcome(
        values,
        lr,
        dev=dev,
        folders=[str(run.folder) for run in runs],
        seconds=sum(trial.seconds_of(record) for record in records),
        fallback=fallback,
        trials={
            f"{rate:g}": {str(steps): value for steps, value in reached.items()} for rate, reached in trials.items()
        },
    )


def _best_layer(suite: Suite, student: Student, task: Task, launch: Launch, looked: Sequence[int | None]) -> Outcome:
    dev: dict[int | None, float] = {}
    for layer in looked:
        record = trial.test(layer_run(suite, student, task, layer, task.dev), launch)
        dev[layer] = record["tested"]["values"][task.metrics[0].key]
    best = max(dev, key=lambda layer: dev[layer])
    run = layer_run(suite, student, task, best, task.test)
    tested = trial.test(run, launch)["tested"]
    logger.info("%s %s: layer %s, %s", student.name, task.name, best, _in_words(suite, task, tested["values"]))
    by_layer = {"last" if layer is None else str(layer): value for layer, value in dev.items()}
    return Outcome(tested["values"], layer=best, dev=by_layer, folders=[str(run.folder)], seconds=tested["seconds"])


def _in_words(suite: Suite, task: Task, values: dict[str, float]) -> str:
    return ", ".join(f"{metric.label} {values[metric.key]:.2f}" for metric in suite.metrics(task))

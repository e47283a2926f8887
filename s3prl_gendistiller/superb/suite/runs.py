"""Runs a suite: chooses learning rates, trains and tests; what is finished (see `trial`) is never done twice."""

from __future__ import annotations

import errno
import itertools
import logging
import math
import os
import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.superb.models import Student
from s3prl_gendistiller.superb.suite import trial
from s3prl_gendistiller.superb.suite.search import Trials, budgets, cost_of, halve
from s3prl_gendistiller.superb.suite.suite import Layers, Suite, layer_run, trained_runs
from s3prl_gendistiller.superb.suite.trial import Launch
from s3prl_gendistiller.superb.tasks import Task

LM_PART = "tested_lm"
DIVERGED = "not finite"
"""What run_downstream.py says of losses, gradients and weights when it ends a training for them."""
FULL = tuple(map(os.strerror, (errno.ENOSPC, errno.EDQUOT)))
"""What a system says of a disk that takes no more: every other run would end so, too."""
Dev = dict[str, float]
Found = tuple[float | None, Dev, Trials]
"""A learning rate, what each that was tried reached on dev at last, and after which steps."""
_Added = list[Future[Any]]
"""What a turn added; each future gives the same again."""

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
        Student -> task -> outcome, and one line for each run that failed. When the disk is full nothing more is begun.
    """
    results: dict[str, dict[str, Outcome]] = {student.name: {} for student in suite.students}
    failures: list[str] = []
    full = threading.Event()
    turns = _Turns(jobs)

    def turn(task: Task, student: Student, others: Sequence[Student] = (), found: Found | None = None) -> _Added:
        more: _Added = []
        if full.is_set():
            return more
        try:
            if found is None:
                found = _search(suite, student, task, launch)
                more = [turns.add(task.cost, partial(turn, task, other, found=found)) for other in others]
            if task.trained:
                results[student.name][task.name] = _train_and_test(suite, student, task, launch, *found)
            else:
                results[student.name][task.name] = _best_layer(suite, student, task, launch, layers[student.name])
        except (UserError, OSError) as error:
            problem = f"{student.name} on {task.name}: {error}"
            if any(reason in problem for reason in FULL):
                if full.is_set():
                    return more  # one message is enough
                full.set()
                problem += "; make room, then repeat the same command"
            failures.append(problem)
            logger.error("%s", problem)
        return more

    # the learning rate is chosen with the first seed of a kind and then fixed for the others, which start from there
    pending = {
        turns.add(task.cost, partial(turn, task, first, others))
        for first, *others in suite.kinds().values()
        for task in suite.tasks
    }
    try:
        while pending:
            finished, pending = wait(pending, return_when=FIRST_COMPLETED)
            for future in finished:
                pending.update(future.result())
    finally:
        turns.close()  # when interrupted, whoever launches ends what is running
    return results, failures


class _Turns:
    """Work in threads: the most expensive of what waits goes first, and what runs may add more and returns it."""

    def __init__(self, threads: int) -> None:
        self._pool = ThreadPoolExecutor(max_workers=threads)
        self._waiting: queue.PriorityQueue[tuple[float, int, Callable[[], _Added]]] = queue.PriorityQueue()
        self._count = itertools.count()

    def add(self, cost: float, work: Callable[[], _Added]) -> Future[Any]:
        """Of as many futures as there is work, each is the result of some piece of it."""
        self._waiting.put((-cost, next(self._count), work))
        return self._pool.submit(lambda: self._waiting.get_nowait()[2]())

    def close(self) -> None:
        """Starts nothing more and does not wait."""
        self._pool.shutdown(wait=False, cancel_futures=True)


def _search(suite: Suite, student: Student, task: Task, launch: Launch) -> Found:
    """The learning rate that is best on dev; without a choice the one there is, and nothing is run."""
    rates = suite.candidates(task)
    higher = task.dev_metric.higher_is_better
    if len(rates) == 1:
        return rates[0], {}, {}

    def measure(rate: float | None, steps: int | None) -> float:
        run = trained_runs(suite, student, task, rate)[0]
        try:
            value = trial.dev_value(run, launch) if steps is None else trial.dev_value_after(run, launch, steps)
        except UserError as error:
            if DIVERGED not in str(error):
                raise
            logger.warning("%s %s: diverged, which drops its rate (%s)", student.name, run.name, error)
            value = math.nan
        logger.info("%s %s: %.2f on dev%s", student.name, run.name, value, f" after {steps} steps" if steps else "")
        return value

    if suite.halving:
        listed = [rate for rate in rates if rate is not None]
        best, trials = halve(listed, budgets(suite.content(task), task.name), measure, higher)
        return best, {f"{rate:g}": list(reached.values())[-1] for rate, reached in trials.items()}, trials
    dev = {rate: measure(rate, None) for rate in rates}
    best_of_all = min(dev, key=lambda rate: cost_of(dev[rate], higher))
    return best_of_all, {f"{rate:g}": value for rate, value in dev.items()}, {}


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
    if task.lm_metric and suite.metrics(task) != task.metrics:
        values[task.lm_metric.key] = records[0][LM_PART]["values"][task.metrics[0].key]
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

"""Runs a suite: chooses learning rates, trains, and tests; finished parts are not repeated."""

from __future__ import annotations

import errno
import heapq
import itertools
import logging
import math
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from functools import partial

from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.superb.models import BenchmarkedModel
from s3prl_gendistiller.superb.suite.execution import Executor, evaluate, train
from s3prl_gendistiller.superb.suite.experiment_folder import ExperimentFolders, Launch, Watching, unwatched
from s3prl_gendistiller.superb.suite.learning_rate_search import ChosenRate, choose_rate
from s3prl_gendistiller.superb.suite.record import Record, seconds_of
from s3prl_gendistiller.superb.suite.results import Outcome, Results
from s3prl_gendistiller.superb.suite.run import TEST, TEST_WITH_LM, Run, trained_runs
from s3prl_gendistiller.superb.suite.suite import Layers, Suite
from s3prl_gendistiller.superb.tasks import Task

FULL = tuple(map(os.strerror, (errno.ENOSPC, errno.EDQUOT)))
"""Messages of a system whose disk is full; every later run would fail in the same way."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Job:
    """One step for a thread; `action` returns the jobs that follow."""

    cost: float
    model: BenchmarkedModel
    task: Task
    action: Callable[[], Sequence[_Job]]


def run_suite(
    suite: Suite, launch: Launch, layers: Layers, jobs: int = 1, watching: Watching = unwatched
) -> tuple[Results, list[str]]:
    """Runs what is missing, `jobs` runs at a time; once the disk is full, nothing more is started.

    Returns:
        The results, and one line for each run that failed.
    """
    executor = ExperimentFolders(launch, watching)
    results: Results = {model.name: {} for model in suite.models}
    failures: list[str] = []
    disk_is_full = threading.Event()

    def search(task: Task, models: Sequence[BenchmarkedModel]) -> list[_Job]:
        """Chooses the learning rate of a group with its first model, which then goes on before all other jobs."""
        rate = choose_rate(suite, models[0], task, executor)
        first, *others = (_Job(task.cost, model, task, partial(finish, task, model, rate)) for model in models)
        return [replace(first, cost=math.inf), *others]

    def finish(task: Task, model: BenchmarkedModel, rate: ChosenRate) -> list[_Job]:
        outcome = benchmark(suite, model, task, executor, layers, rate)
        for name in suite.sharing(model, task):
            results[name][task.name] = outcome
        return []

    def attempt(job: _Job) -> Sequence[_Job]:
        if disk_is_full.is_set():
            return []
        try:
            return job.action()
        except (UserError, OSError) as error:
            problem = f"{job.model.name} on {job.task.name}: {error}"
        if any(reason in problem for reason in FULL):
            if disk_is_full.is_set():
                return []  # one message is enough
            disk_is_full.set()
            problem += "; make room, then repeat the same command"
        failures.append(problem)
        logger.error("%s", problem)
        return []

    searches = [
        _Job(task.cost, models[0], task, partial(search, task, models))
        for group in suite.groups()
        for task in suite.tasks
        for models in (suite.evaluated(task)[group],)
    ]
    _run_jobs(searches, attempt, jobs)
    return results, failures


def _run_jobs(jobs: Sequence[_Job], attempt: Callable[[_Job], Sequence[_Job]], threads: int) -> None:
    """Attempts jobs, and the jobs that follow them, in threads; of the waiting jobs the most expensive starts first."""
    number = itertools.count()  # keeps jobs of equal cost in order
    waiting: list[tuple[float, int, _Job]] = []
    running: set[Future[Sequence[_Job]]] = set()
    pool = ThreadPoolExecutor(max_workers=threads)

    def start(*added: _Job) -> None:
        for job in added:
            heapq.heappush(waiting, (-job.cost, next(number), job))
        while waiting and len(running) < threads:
            running.add(pool.submit(attempt, heapq.heappop(waiting)[-1]))

    try:
        for job in jobs:
            start(job)
        while running:
            finished, _ = wait(running, return_when=FIRST_COMPLETED)
            running -= finished
            start(*(job for future in finished for job in future.result()))
    finally:
        pool.shutdown(wait=False, cancel_futures=True)  # the runs that an interrupt leaves are ended by `processes`


def benchmark(
    suite: Suite, model: BenchmarkedModel, task: Task, executor: Executor, layers: Layers, rate: ChosenRate
) -> Outcome:
    """One model on one task: trained and tested at the chosen rate, or QbE at the layer that is best on dev."""
    if task.trained:
        outcome = _train_and_test(suite, model, task, executor, rate)
    else:
        outcome = _best_layer(suite, model, task, executor, layers[model.name])
    what = "" if task.trained else f"layer {outcome.layer}, "
    values = ", ".join(f"{metric.label} {outcome.values[metric.key]:.2f}" for metric in suite.metrics(task))
    executor.log(f"{model.name} {task.name}: {what}{values}")
    return outcome


def _train_and_test(suite: Suite, model: BenchmarkedModel, task: Task, executor: Executor, rate: ChosenRate) -> Outcome:
    records, runs = [], trained_runs(suite, model, task, rate.lr)
    for run in runs:
        train(run, executor)
        records.append(evaluate(run, executor))
        if suite.with_lm(task):
            records[-1] = evaluate(run, executor, TEST_WITH_LM)
    tested = [record[TEST] for record in records]
    values = {key: sum(part["values"][key] for part in tested) / len(tested) for key in tested[0]["values"]}
    if task.lm_metric and suite.with_lm(task):
        values[task.lm_metric.key] = records[0][TEST_WITH_LM]["values"][task.lm_metric.printed]
    trials = {f"{lr:g}": {str(steps): value for steps, value in dev.items()} for lr, dev in rate.curves.items()}
    fallback = next((part["fallback"] for part in tested if part["fallback"]), None)
    folders, seconds = [str(run.folder) for run in runs], sum(map(seconds_of, records))
    return Outcome(values, rate.lr, dev=rate.dev, folders=folders, seconds=seconds, fallback=fallback, trials=trials)


def _best_layer(
    suite: Suite, model: BenchmarkedModel, task: Task, executor: Executor, layers: Sequence[int | None]
) -> Outcome:
    def tested(layer: int | None, split: str) -> tuple[Run, Record]:
        run = Run(suite, model, task, layer=layer, split=split)
        return run, evaluate(run, executor)[TEST]

    dev = {layer: tested(layer, task.dev)[1]["values"][task.metrics[0].key] for layer in layers}
    best = max(dev, key=lambda layer: dev[layer])
    run, found = tested(best, task.test)
    by_layer = {"last" if layer is None else str(layer): value for layer, value in dev.items()}
    return Outcome(found["values"], layer=best, dev=by_layer, folders=[str(run.folder)], seconds=found["seconds"])

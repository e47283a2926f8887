"""Runs a suite: trains, evaluates, and writes down what is finished, so that nothing is done twice.

Each run is an experiment folder of s3prl with two files more: `superb.json`, written whole after each finished part,
and the output of its commands. A run that was killed while it trained goes on from its newest whole checkpoint.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from s3prl_gendistiller.distill.manifest import replacing
from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.host.checkpoint import newest_checkpoint
from s3prl_gendistiller.superb import metrics
from s3prl_gendistiller.superb.plan import Layers, Run, Suite, layer_run, trained_runs, write_dev_trials
from s3prl_gendistiller.superb.students import Student
from s3prl_gendistiller.superb.tasks import Task

RECORD = "superb.json"
TRAIN_LOG, TEST_LOG = "superb_train.log", "superb_test.log"

logger = logging.getLogger(__name__)

Launch = Callable[[Sequence[str], Path], None]
"""Runs run_downstream.py with arguments and writes its output to a file; raises UserError if it fails."""


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
    """

    values: dict[str, float]
    lr: float | None = None
    layer: int | None = None
    dev: dict[str, float] = field(default_factory=dict)
    folders: list[str] = field(default_factory=list)
    seconds: float = 0.0
    fallback: str | None = None


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


def _search(suite: Suite, student: Student, task: Task, launch: Launch) -> tuple[float | None, dict[str, float]]:
    """The learning rate that is best on dev, and what each reached."""
    rates = suite.candidates(task)
    if len(rates) == 1:
        return rates[0], {}
    dev: dict[float | None, float] = {}
    for rate in rates:
        run = trained_runs(suite, student, task, rate)[0]
        dev[rate] = _dev_value(run, launch)
        logger.info("%s %s: %.2f on dev", student.name, run.name, dev[rate])
    choose = max if metrics.dev_is_higher_better(task) else min
    return choose(dev, key=lambda rate: dev[rate]), {f"{rate:g}": value for rate, value in dev.items()}


def _dev_value(run: Run, launch: Launch) -> float:
    record = _train(run, launch)
    value = record["trained"]["dev"]
    if value is None and not run.task.best:  # ASV: s3prl evaluates nothing on dev
        record = _test(run, launch, write_dev_trials(run), part="dev")
        value = record["dev"]["values"]["eer"]
    if value is None:
        raise UserError(f"{run.folder}: nothing was evaluated on {run.task.dev} while it trained; look at {TRAIN_LOG}")
    return float(value)


def _train_and_test(
    suite: Suite, student: Student, task: Task, launch: Launch, lr: float | None, dev: dict[str, float]
) -> Outcome:
    records, runs = [], trained_runs(suite, student, task, lr)
    for run in runs:
        _train(run, launch)
        records.append(_test(run, launch))
    tested = [record["tested"] for record in records]
    values = {key: sum(part["values"][key] for part in tested) / len(tested) for key in tested[0]["values"]}
    seconds = sum(record["trained"]["seconds"] + record["tested"]["seconds"] for record in records)
    fallback = next((part["fallback"] for part in tested if part["fallback"]), None)
    logger.info("%s %s: %s", student.name, task.name, _in_words(task, values))
    folders = [str(run.folder) for run in runs]
    return Outcome(values, lr, dev=dev, folders=folders, seconds=seconds, fallback=fallback)


def _best_layer(suite: Suite, student: Student, task: Task, launch: Launch, looked: Sequence[int | None]) -> Outcome:
    dev: dict[int | None, float] = {}
    for layer in looked:
        record = _test(layer_run(suite, student, task, layer, task.dev), launch)
        dev[layer] = record["tested"]["values"][task.metrics[0].key]
    best = max(dev, key=lambda layer: dev[layer])
    run = layer_run(suite, student, task, best, task.test)
    tested = _test(run, launch)["tested"]
    logger.info("%s %s: layer %s, %s", student.name, task.name, best, _in_words(task, tested["values"]))
    by_layer = {"last" if layer is None else str(layer): value for layer, value in dev.items()}
    return Outcome(tested["values"], layer=best, dev=by_layer, folders=[str(run.folder)], seconds=tested["seconds"])


def _train(run: Run, launch: Launch) -> dict[str, Any]:
    record = read_record(run)
    if "trained" in record:
        return record
    _refuse_broken(run)
    _write_record(run, record)  # before it starts: what a killed run leaves is this student's and no other's
    log = run.folder / TRAIN_LOG
    seconds = _timed(launch, run.train_command(), log)
    dev = metrics.best_on_dev(run.task, log.read_text(encoding="utf-8", errors="replace"))
    return _write_record(run, {**record, "trained": {"dev": dev, "seconds": seconds}})


def _test(run: Run, launch: Launch, trials: Path | None = None, part: str = "tested") -> dict[str, Any]:
    """Evaluates a run; of several checkpoints without a best one (ASV) the best counts."""
    record = read_record(run)
    if part in record:
        return record
    split = run.split or run.task.test
    checkpoints, fallback = _checkpoints(run)
    config = run.suite.config(run.task)
    metric = run.task.metrics[0]
    found, seconds = [], 0.0
    for checkpoint in checkpoints:
        log = run.folder / TEST_LOG
        log.unlink(missing_ok=True)
        seconds += _timed(launch, run.test_command(checkpoint, split, trials), log)
        text = log.read_text(encoding="utf-8", errors="replace")
        values = metrics.evaluated(run.task, run.folder, text, config, split)
        found.append((values, checkpoint, _predictions(run.folder) if len(checkpoints) > 1 else {}))
    choose = max if metric.higher_is_better else min
    values, checkpoint, predictions = choose(found, key=lambda entry: entry[0][metric.key])
    for path, content in predictions.items():  # each test writes over those of the one before
        with replacing(path) as partial:
            partial.write_bytes(content)
    tested = {"values": values, "seconds": seconds, "fallback": fallback}
    tested["checkpoint"] = None if checkpoint is None else checkpoint.name
    return _write_record(run, {**record, part: tested})


def _predictions(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.glob("test_*.txt")}


def _checkpoints(run: Run) -> tuple[Sequence[Path | None], str | None]:
    if not run.task.trained:
        return [None], None
    if run.task.best and (run.folder / run.task.best).is_file():
        return [run.folder / run.task.best], None
    newest = newest_checkpoint(run.folder)
    if newest is None:
        raise UserError(f"{run.folder}: holds no whole checkpoint to test; remove the folder to train it again")
    if run.task.best:  # s3prl saves none as long as dev is not better than nothing at all
        return [newest], f"dev never became better than nothing, so {newest.name} was tested"
    return sorted(run.folder.glob("states-*.ckpt")), None


def read_record(run: Run) -> dict[str, Any]:
    """What is finished of a run; its settings alone for a new one.

    Raises:
        UserError: the folder's record is broken, or it was made with other settings.
    """
    path = run.folder / RECORD
    settings = run.settings()
    if not path.is_file():
        return {"settings": settings}
    try:
        record = dict(json.loads(path.read_text(encoding="utf-8")))
        before = record["settings"]
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: not readable ({error}); remove {run.folder} to run it again") from error
    changed = [key for key in settings if before.get(key) != settings[key]]
    if changed:
        raise UserError(
            f"{run.folder}: was made with another {changed[0]} (found {before.get(changed[0])}, now "
            f"{settings[changed[0]]}); give another --out or another name to the student, or remove that folder"
        )
    return record


def _write_record(run: Run, record: dict[str, Any]) -> dict[str, Any]:
    with replacing(run.folder / RECORD) as path:
        path.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    return record


def _refuse_broken(run: Run) -> None:
    found = sorted(run.folder.glob("states-*.ckpt"))
    if found and newest_checkpoint(run.folder) is None:
        raise UserError(
            f"{run.folder}: was left with {len(found)} checkpoints and none of them is whole ({found[-1].name}); "
            "remove the folder to train it again; other runs are not touched"
        )


def _timed(launch: Launch, arguments: Sequence[str], log: Path) -> float:
    log.parent.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    launch(arguments, log)
    return round(time.monotonic() - started, 1)


def _in_words(task: Task, values: dict[str, float]) -> str:
    return ", ".join(f"{metric.label} {values[metric.key]:.2f}" for metric in task.metrics)

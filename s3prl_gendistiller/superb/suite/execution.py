"""One run from training to test: which of its parts are missing, and in which order an executor does them.

Two executors exist. `experiment_folder.ExperimentFolders` starts run_downstream.py and keeps each run's superb.json;
`dry_run.Recorder` collects the commands and starts nothing.
"""

from __future__ import annotations

import math
from typing import Any, Protocol

from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.superb.suite.record import Record, finite
from s3prl_gendistiller.superb.suite.run import DEV, TEST, Run
from s3prl_gendistiller.superb.tasks.printed import NoNumber


class Executor(Protocol):
    """Carries out the commands of runs and keeps their records."""

    def read(self, run: Run) -> Record:
        """The record of a run, see `record`."""

    def write(self, run: Run, record: Record) -> Record:
        """Keeps the record of a run, and returns it."""

    def train(self, run: Run, record: Record, steps: int | None) -> float:
        """Trains a run on from its newest checkpoint, and returns the seconds that the training took.

        Args:
            record: kept before the training begins, so that a killed run leaves its settings beside its checkpoints.
            steps: total number of steps; None leaves the configuration's own.
        """

    def dev_of_training(self, run: Run, evaluations: int | None = None) -> float | None:
        """`printed.best_on_dev` of the run's training."""

    def evaluate(self, run: Run, evaluation: str, steps: int | None = None) -> dict[str, Any]:
        """Evaluates a run, and returns the entry of its record; NoNumber if no checkpoint gives a valid number.

        Args:
            evaluation: `TEST`, `DEV` or `TEST_WITH_LM`.
            steps: evaluate the checkpoint after so many steps; None for the best checkpoint.
        """

    def log(self, text: str) -> None:
        """Shows a value to the user."""


def train(run: Run, executor: Executor) -> Record:
    """Trains a run from its newest checkpoint to its end, and returns its record."""
    record = executor.read(run)
    if "trained" in record:
        return record
    # the newest checkpoint of a search holds a smaller number of steps, which s3prl would take
    total = run.runner["total_steps"] if "stages" in record else None
    at_end = "seconds" in record.get("stages", {}).get(str(total), {})
    seconds = 0.0 if at_end else executor.train(run, record, total)
    trained = {"dev": finite(executor.dev_of_training(run)), "seconds": seconds}
    return executor.write(run, {**record, "trained": trained})


def evaluate(run: Run, executor: Executor, evaluation: str = TEST) -> Record:
    """Evaluates a run that is trained to its end, and returns its record."""
    record = executor.read(run)
    if evaluation in record:
        return record
    return executor.write(run, {**record, evaluation: executor.evaluate(run, evaluation)})


def dev_value(run: Run, executor: Executor) -> float:
    """Value on dev of a run that is trained to its end; NaN if no evaluation gave a number."""
    value = train(run, executor)["trained"]["dev"]
    if value is None and not run.task.best:  # ASV: s3prl evaluates nothing on dev while it trains
        try:
            value = evaluate(run, executor, DEV)[DEV]["values"][run.task.metrics[0].key]
        except NoNumber:
            return math.nan
    return _known(run, executor.dev_of_training(run) if value is None else value)


def dev_value_after(run: Run, executor: Executor, steps: int) -> float:
    """Value on dev after a number of steps, at which s3prl saves a checkpoint; NaN if no evaluation gave a number."""
    record = executor.read(run)
    stages = record.get("stages", {})
    stage = dict(stages.get(str(steps), {}))
    if "dev" in stage:
        return math.nan if stage["dev"] is None else float(stage["dev"])
    if "trained" not in record and "seconds" not in stage:
        # `stages` is recorded before the training begins: `train` then states the total number of steps
        stage["seconds"] = executor.train(run, {**record, "stages": stages}, steps)
        record = executor.write(run, {**record, "stages": {**stages, str(steps): stage}})
    evaluations = steps // run.runner["eval_step"] if "trained" in record else None
    value = executor.dev_of_training(run, evaluations)
    if value is None and not run.task.best:
        try:
            found = executor.evaluate(run, DEV, steps)
            value = found["values"][run.task.metrics[0].key]
            stage["seconds"] = round(stage.get("seconds", 0.0) + found["seconds"], 1)
        except NoNumber:
            value = math.nan
    known = _known(run, value)
    stage["dev"] = finite(known)
    executor.write(run, {**record, "stages": {**stages, str(steps): stage}})
    return known


def _known(run: Run, value: float | None) -> float:
    if value is None:
        problem = f"nothing was evaluated on {run.task.dev} while it trained"
        raise UserError(f"{run.folder}: {problem}; look at superb_train.log")
    return float(value)

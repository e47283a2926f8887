"""The executor that does the work: run_downstream.py in experiment folders, with its output and a record beside it.

A run is an experiment folder of s3prl with superb.json (see `record`) and the output of its commands in it. A run that
was killed while it trained goes on from its newest whole checkpoint.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.host.checkpoint import REGULAR, newest_checkpoint
from s3prl_gendistiller.outputs import replacing, write_text
from s3prl_gendistiller.superb.suite.kept_items import keep_items
from s3prl_gendistiller.superb.suite.record import Record, read_record, write_record
from s3prl_gendistiller.superb.suite.run import DEV, TEST, Run
from s3prl_gendistiller.superb.tasks import printed

TRAIN_LOG, TEST_LOG = "superb_train.log", "superb_test.log"

logger = logging.getLogger(__name__)

Launch = Callable[[Sequence[str], Path], None]
"""Runs run_downstream.py with arguments; raises UserError if the run fails.

Its output is appended to a file, if it is a training that goes on (``-a``); else the file begins anew.
"""
Watching = Callable[[Run, Path], contextlib.AbstractContextManager[None]]
"""Shows the progress of a run's command, whose output goes into the file, as long as the context lasts."""


def unwatched(run: Run, log: Path) -> contextlib.AbstractContextManager[None]:
    """`Watching` that shows nothing."""
    return contextlib.nullcontext()


class ExperimentFolders:
    """`execution.Executor` over run_downstream.py."""

    def __init__(self, launch: Launch, watching: Watching = unwatched) -> None:
        self._launch, self._watching = launch, watching

    read, write = staticmethod(read_record), staticmethod(write_record)

    def log(self, text: str) -> None:
        logger.info("%s", text)

    def train(self, run: Run, record: Record, steps: int | None) -> float:
        """`Executor.train`; UserError if the training failed, or none of several checkpoints is whole."""
        found = sorted(run.folder.glob(REGULAR))
        if found and newest_checkpoint(run.folder) is None:
            if len(found) > 1:  # a kill breaks the checkpoint that is being written, and no other
                left = f"was left with {len(found)} checkpoints and none of them is whole ({found[-1].name})"
                remedy = "remove the folder to train it again; other runs are not touched"
                raise UserError(f"{run.folder}: {left}; {remedy}")
            logger.warning("%s: was killed while it wrote its only checkpoint; it begins again", run.folder)
            for path in (found[0], run.folder / TRAIN_LOG):  # the log holds what the killed run reached on dev
                path.unlink(missing_ok=True)
        write_record(run, record)
        return self._timed(run, run.train_command(steps), run.folder / TRAIN_LOG)

    def dev_of_training(self, run: Run, evaluations: int | None = None) -> float | None:
        return printed.best_on_dev(run.task, _text(run.folder / TRAIN_LOG), evaluations)

    def evaluate(self, run: Run, evaluation: str, steps: int | None = None) -> dict[str, Any]:
        """`Executor.evaluate`. Where s3prl marks no best checkpoint (ASV), all are tested and the best value counts."""
        checkpoints, fallback = _checkpoints(run, steps)
        if evaluation == DEV:
            write_text(run.dev_trials, run.task.dev_trials(run.suite.config(run.task)["downstream_expert"]))
        found: list[tuple[dict[str, float], Path | None, dict[Path, bytes]]] = []
        taken = 0.0
        for checkpoint in checkpoints:
            try:
                values, seconds = self._values(run, checkpoint, evaluation)
            except printed.NoNumber:
                if found or checkpoint != checkpoints[-1]:
                    continue  # another checkpoint has a number, or may have one
                raise
            taken += seconds
            written = run.folder.glob("test_*.txt") if len(checkpoints) > 1 else ()
            found.append((values, checkpoint, {path: path.read_bytes() for path in written}))
        metric = run.task.metrics[0]
        best = max if metric.higher_is_better else min
        values, checkpoint, predictions = best(found, key=lambda one: one[0][metric.key])
        for path, content in predictions.items():  # each evaluation replaces the predictions of the one before
            with replacing(path) as partial:
                partial.write_bytes(content)
        if evaluation == TEST:
            keep_items(run, values)
        name = None if checkpoint is None else checkpoint.name
        return {"values": values, "seconds": round(taken, 1), "fallback": fallback, "checkpoint": name}

    def _values(self, run: Run, checkpoint: Path | None, evaluation: str) -> tuple[dict[str, float], float]:
        """The metrics of one checkpoint, and the seconds that the evaluation took."""
        log = run.folder / TEST_LOG
        seconds = self._timed(run, run.evaluate_command(checkpoint, evaluation), log)
        config = run.suite.config(run.task)
        return printed.evaluated(run.task, run.folder, _text(log), config, run.tested_split), seconds

    def _timed(self, run: Run, arguments: Sequence[str], log: Path) -> float:
        log.parent.mkdir(parents=True, exist_ok=True)
        started = time.monotonic()
        with self._watching(run, log):
            self._launch(arguments, log)
        return round(time.monotonic() - started, 1)


def _checkpoints(run: Run, steps: int | None) -> tuple[Sequence[Path | None], str | None]:
    """The checkpoints to evaluate, and the reason if they do not include the best on dev."""
    if not run.task.trained:
        return [None], None
    wanted = run.folder / (run.task.best if steps is None else f"states-{steps}.ckpt")
    if wanted.is_file():
        return [wanted], None
    newest = newest_checkpoint(run.folder)
    if newest is None:
        raise UserError(f"{run.folder}: holds no whole checkpoint to test; remove the folder to train it again")
    if steps is not None:
        return [newest], None
    if run.task.best:  # s3prl saves a best checkpoint only above its start value (0 for accuracies, 100 for ASR's WER)
        reason = "no value on dev was better than s3prl's start value, so s3prl saved no best checkpoint"
        return [newest], f"{reason} and {newest.name} was tested"
    return sorted(run.folder.glob(REGULAR)), None


def _text(log: Path) -> str:
    return log.read_text(encoding="utf-8", errors="replace")

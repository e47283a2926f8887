"""The plan of a suite: its commands, from the code that runs them.

`Recorder` replaces the executor. Where a result would decide the next command, `Recorder` assumes a result: a search
ends at the middle of its list of learning rates, QbE's first layer is the best, and no training diverges.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from s3prl_gendistiller.documents import read_json
from s3prl_gendistiller.superb.suite.benchmark import benchmark
from s3prl_gendistiller.superb.suite.learning_rate_search import choose_rate
from s3prl_gendistiller.superb.suite.record import RECORD, Record
from s3prl_gendistiller.superb.suite.run import DEV, Run
from s3prl_gendistiller.superb.suite.suite import Layers, Suite


@dataclass(frozen=True)
class Work:
    """One command.

    Attributes:
        run: the run in whose folder the command works.
        command: arguments of run_downstream.py.
        steps: optimiser steps of a training; 0 for an evaluation.
        split: split whose speech an evaluation reads; empty for a training.
        checkpoints: number of checkpoints, each of which is evaluated by a command like this one.
    """

    run: Run
    command: list[str]
    steps: int = 0
    split: str = ""
    checkpoints: int = 1


def planned_work(suite: Suite, layers: Layers, *, begun: bool = False) -> list[Work]:
    """The commands of a suite, group by group, task by task; of a suite that has `begun`, those that are missing."""
    recorder = Recorder(begun=begun)
    for group in suite.groups():
        for task in suite.tasks:
            models = suite.evaluated(task)[group]
            rate = choose_rate(suite, models[0], task, recorder)
            for model in models:
                benchmark(suite, model, task, recorder, layers, rate)
    return recorder.work


class Recorder:
    """`execution.Executor` that records commands in `work`, in order, and writes no file.

    Args:
        begun: read the records of finished parts, which `record.require_own_folders` has checked.
    """

    def __init__(self, *, begun: bool = False) -> None:
        self.work: list[Work] = []
        self._begun = begun
        self._records: dict[Path, Record] = {}

    def read(self, run: Run) -> Record:
        if self._begun and run.folder not in self._records and (run.folder / RECORD).is_file():
            self._records[run.folder] = dict(read_json(run.folder / RECORD))
        return self._records.get(run.folder, {})

    def write(self, run: Run, record: Record) -> Record:
        self._records[run.folder] = record
        return record

    def log(self, text: str) -> None:
        pass

    def train(self, run: Run, record: Record, steps: int | None) -> float:
        done = max((int(stage) for stage in record.get("stages", {})), default=0)
        self.write(run, record)
        self.work.append(Work(run, run.train_command(steps), (steps or run.runner["total_steps"]) - done))
        return 0.0

    def dev_of_training(self, run: Run, evaluations: int | None = None) -> float | None:
        return _assumed_value(run) if run.task.best else None

    def evaluate(self, run: Run, evaluation: str, steps: int | None = None) -> dict[str, Any]:
        checkpoint, count = None, 1
        if run.task.trained:
            checkpoint = run.folder / (run.task.best or f"states-{steps or '*'}.ckpt")
            runner = run.runner  # s3prl leaves the newest few checkpoints
            kept = min(runner["max_keep"], max(1, runner["total_steps"] // runner["save_step"]))
            count = 1 if run.task.best or steps else kept
        command = run.evaluate_command(checkpoint, evaluation)
        split = run.task.dev if evaluation == DEV else run.tested_split
        self.work.append(Work(run, command, split=split, checkpoints=count))
        values = {metric.key: _assumed_value(run) for metric in run.task.metrics}
        return {"values": values, "seconds": 0.0, "fallback": None, "checkpoint": None}


def _assumed_value(run: Run) -> float:
    """The closer to the middle of the list of learning rates, the better; the same for all layers of QbE."""
    rates = run.suite.candidates(run.task)
    distance = abs(rates.index(run.lr) - (len(rates) - 1) // 2) if run.lr in rates else len(rates)
    return float(-distance if run.task.dev_metric.higher_is_better else distance)

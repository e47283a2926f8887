"""Everything that a suite without results will do, in order: each command, and how much work it is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from s3prl_gendistiller.superb.models import Student
from s3prl_gendistiller.superb.suite.search import budgets, halve
from s3prl_gendistiller.superb.suite.suite import Layers, Run, Suite, layer_run, trained_runs
from s3prl_gendistiller.superb.suite.trial import DEV_TRIALS
from s3prl_gendistiller.superb.tasks import Task


@dataclass(frozen=True)
class Work:
    """One command.

    Attributes:
        run: whose folder it works in.
        command: arguments of run_downstream.py.
        steps: that it trains; 0 for an evaluation.
        split: that it evaluates; empty for a training.
        checkpoints: how many of them, each in a command like this one.
    """

    run: Run
    command: list[str]
    steps: int = 0
    split: str = ""
    checkpoints: int = 1


def planned_work(suite: Suite, layers: Layers) -> list[Work]:
    """In order. Where dev decides, the middle of a list stands for the rate that wins, the first layer for QbE's.

    Args:
        layers: by student, those that QbE looks at.
    """
    return [
        work
        for students in suite.kinds().values()
        for task in suite.tasks
        for work in _strand(suite, students, task, layers)
    ]


def _strand(suite: Suite, students: Sequence[Student], task: Task, layers: Layers) -> Iterator[Work]:
    """One kind of student on one task, as `runs` does it."""
    if not task.trained:
        for student in students:
            yield from _layers(suite, student, task, layers)
        return
    rates = suite.candidates(task)
    middle = rates[(len(rates) - 1) // 2]
    searched = list(_search(suite, students[0], task, rates, middle)) if len(rates) > 1 else []
    yield from searched
    for student in students:
        for run in trained_runs(suite, student, task, middle):
            before = [work.steps for work in searched if work.run == run]
            yield from _to_the_end(run, before)


def _search(
    suite: Suite, student: Student, task: Task, rates: Sequence[float | None], middle: float | None
) -> Iterator[Work]:
    first = trained_runs(suite, student, task, None)[0]
    total = suite.content(task)["runner"]["total_steps"]
    if not suite.halving:
        for rate in rates:
            run = replace(first, lr=rate)
            yield Work(run, run.train_command(), total)
            yield from _dev(run, None)
        return
    found: list[Work] = []
    reached: dict[float, int] = {}
    listed = [rate for rate in rates if rate is not None]
    best = rates.index(middle)

    def measure(rate: float, steps: int) -> float:
        run = replace(first, lr=rate)
        found.append(Work(run, run.train_command(steps), steps - reached.get(rate, 0)))
        found.extend(_dev(run, steps))
        reached[rate] = steps
        return -abs(listed.index(rate) - best) if rate in listed else -len(listed)

    halve(listed, budgets(suite.content(task), task.name), measure, higher_is_better=True)
    yield from found


def _dev(run: Run, steps: int | None) -> Iterator[Work]:
    """ASV's evaluation on dev, which its training leaves out."""
    if not run.task.best:
        name = "states-*.ckpt" if steps is None else f"states-{steps}.ckpt"
        command = run.test_command(run.folder / name, run.task.test, run.folder / DEV_TRIALS)
        yield Work(run, command, split=run.task.dev, checkpoints=_kept(run) if steps is None else 1)


def _to_the_end(run: Run, before: Sequence[int]) -> Iterator[Work]:
    """Training, less the steps that a search has done, and test."""
    total, done = run.suite.content(run.task)["runner"]["total_steps"], sum(before)
    if done < total:
        yield Work(run, run.train_command(total if before else None), total - done)
    checkpoint, kept = run.folder / (run.task.best or "states-*.ckpt"), 1 if run.task.best else _kept(run)
    yield Work(run, run.test_command(checkpoint, run.task.test), split=run.task.test, checkpoints=kept)
    if run.suite.metrics(run.task) != run.task.metrics:
        yield Work(run, run.test_command(checkpoint, run.task.test, lm=run.suite.lm), split=run.task.test)


def _layers(suite: Suite, student: Student, task: Task, layers: Layers) -> Iterator[Work]:
    looked = [layer_run(suite, student, task, layer, task.dev) for layer in layers[student.name]]
    for run in [*looked, replace(looked[0], split=task.test)]:
        yield Work(run, run.test_command(None, run.split or ""), split=run.split or "")


def _kept(run: Run) -> int:
    runner = run.suite.content(run.task)["runner"]
    return int(min(runner["max_keep"], max(1, runner["total_steps"] // runner["save_step"])))

"""How long a suite takes and how much it keeps, from stated assumptions.

A command takes

    batches x BATCH_S  +  2 x audio x (upstream + 3 x head) / rate     seconds of training,
    2 x audio x (upstream + head) / rate  +  pairs x PAIR_S / cores    seconds of evaluation,

with the seconds of audio it hears (`Task.speech`), the upstream's multiply-adds per second of audio (counted on the
student itself, `costs`), the head's (its parameters x 50 frames; backwards costs twice as much again), and the floating
point operations per second that the device sustains.

The rate is the weak part. One anchor is known: four trainings of PR with 12-layer students of 3.8 G multiply-adds per
second of audio took about 22 hours side by side on one A40; this formula says 24 at 16e12 a second, two fifths of its
peak. Other devices scale with their peak in 32-bit arithmetic, give or take a factor of two; reading files and decoding
with a language model, which this leaves out, may cost more. A core of a small server sustained 0.043e12 to 0.066e12 on
five tasks of the small preset with hubert_mini.
"""

from __future__ import annotations

import heapq
import itertools
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from s3prl_gendistiller.superb.suite.agenda import Work
from s3prl_gendistiller.superb.suite.suite import Run, Suite
from s3prl_gendistiller.superb.suite.table import markdown

GPU_TFLOPS = 16.0
CORE_TFLOPS = 0.05
BATCH_S = 0.03
"""What a batch costs besides arithmetic: Python, launching kernels, waiting. An assumption."""
PAIR_S = 0.008
"""A query of 1.4 s against a document of 6.6 s, 768 wide, by s3prl's `match` on one core; measured."""
FRAMES_PER_S = 50
BYTES_PER_WEIGHT = 12  # it and Adam's two moments
SAMPLES_PER_S = 16_000


@dataclass(frozen=True)
class Estimate:
    """Of one task and one kind of student.

    Attributes:
        kind: of the students.
        task: by name.
        runs: experiment folders.
        steps: of optimisers, in all.
        seeds: hours of each student on one device, the first one's with its search.
        searched: the other seeds wait for what the first one finds.
        gigabytes: of checkpoints that stay.
    """

    kind: str
    task: str
    runs: int
    steps: int
    seeds: Sequence[float]
    searched: bool
    gigabytes: float

    @property
    def hours(self) -> float:
        """On one device."""
        return sum(self.seeds)


def estimate(suite: Suite, agenda: Sequence[Work], gmacs: Mapping[str, float], tflops: float) -> list[Estimate]:
    """One for each kind of student and task, in the order of the agenda.

    Args:
        gmacs: by student, billions of multiply-adds per second of audio.
        tflops: 10^12 floating point operations that one run gets a second.
    """
    found: dict[tuple[str, str], list[Work]] = {}
    for work in agenda:
        found.setdefault((work.run.student.kind, work.run.task.name), []).append(work)
    return [
        Estimate(
            kind,
            task,
            runs=len({work.run.folder for work in works}),
            steps=sum(work.steps for work in works),
            seeds=_hours_of_seeds(works, gmacs, tflops),
            searched=len(suite.candidates(works[0].run.task)) > 1,
            gigabytes=sum(_kept_bytes(run, _steps(run, works)) for run in _folders(works)) / 1e9,
        )
        for (kind, task), works in found.items()
    ]


def wall_hours(estimates: Sequence[Estimate], at_a_time: int) -> float:
    """With so many runs at a time: a free slot takes the longest that waits, and a search lets go of its other seeds.

    Args:
        estimates: of kinds and tasks.
    """
    number = itertools.count()  # so that the lists in a heap are never compared
    ready: list[tuple[float, int, Sequence[float]]] = []
    running: list[tuple[float, int, Sequence[float]]] = []
    now = 0.0

    def queue(hours: float, followers: Sequence[float] = ()) -> None:
        heapq.heappush(ready, (-hours, next(number), followers))

    for one in estimates:
        first, *others = one.seeds
        queue(first, others if one.searched else ())
        for other in () if one.searched else others:
            queue(other)
    while ready or running:
        while ready and len(running) < at_a_time:
            negative, _, followers = heapq.heappop(ready)
            heapq.heappush(running, (now - negative, next(number), followers))
        now, _, followers = heapq.heappop(running)
        for other in followers:
            queue(other)
    return now


def sustained(asked: float | None, on_gpu: bool, devices: int, at_a_time: int) -> float:
    """10^12 operations a second for each run: of a GPU, or of a machine's cores, shared among runs.

    Args:
        asked: what one GPU (or the machine without) sustains; None for what is assumed.
        devices: GPUs that are used.
    """
    whole = (asked or GPU_TFLOPS) * devices if on_gpu else asked or CORE_TFLOPS * (os.cpu_count() or 1)
    return whole / at_a_time


def describe(estimates: Sequence[Estimate], tflops: float, at_a_time: int, on_gpu: bool) -> str:
    """The plan as a table, and what it assumes.

    Args:
        tflops: of `sustained`.
        at_a_time: how many runs.
        on_gpu: where.
    """
    header = ["student", "task", "runs", "optimiser steps", "hours", "GB kept"]
    rows = [
        [one.kind, one.task, str(one.runs), f"{one.steps:,}", f"{one.hours:.1f}", f"{one.gigabytes:.1f}"]
        for one in estimates
    ]
    total = sum(one.hours for one in estimates)
    return markdown([header, *rows]) + (
        f"{total:.1f} hours of runs, {at_a_time} at a time: {wall_hours(estimates, at_a_time):.1f} hours; "
        f"{sum(one.gigabytes for one in estimates):.0f} GB of checkpoints.\n"
        f"The hours assume {tflops:g} TFLOP/s for each run, {'on GPUs' if on_gpu else 'on this CPU'}, and may be wrong "
        "by a factor of two;\n--tflops sets what a device sustains (superb/suite/hours.py has the formula). "
        "What is finished is not run again.\n"
    )


def _hours_of_seeds(works: Sequence[Work], gmacs: Mapping[str, float], tflops: float) -> list[float]:
    seconds: dict[str, float] = {}
    for work in works:
        student = work.run.student.name
        taken = _seconds(work, gmacs[student] * 1e9, tflops * 1e12)
        seconds[student] = seconds.get(student, 0.0) + taken
    return [one / 3600 for one in seconds.values()]


def _seconds(work: Work, upstream: float, rate: float) -> float:
    suite, task = work.run.suite, work.run.task
    speech = task.speech_of(suite.preset)
    expert = suite.content(task)["downstream_expert"]
    head = FRAMES_PER_S * task.head_parameters(expert) if task.trained else 0
    if not work.steps:
        heard = speech.dev_s if work.split == task.dev else speech.test_s
        warping = speech.pairs * PAIR_S / (os.cpu_count() or 1)
        return work.checkpoints * (2 * heard * (upstream + head) / rate + warping)
    runner = suite.content(task)["runner"]
    splits = {task.dev: speech.dev_s, task.test: speech.test_s}
    heard_on_dev = sum(splits[split] for split in runner["eval_dataloaders"]) * (work.steps // runner["eval_step"])
    batches = work.steps * runner["gradient_accumulate_steps"]
    heard = batches * task.batch_utterances(expert) * min(speech.utterance_s, _longest_s(expert))
    arithmetic = heard * (upstream + 3 * head) + heard_on_dev * (upstream + head)
    return batches * BATCH_S + 2 * arithmetic / rate


def _longest_s(expert: Mapping[str, Any]) -> float:
    return float(expert.get("datarc", {}).get("max_timestep", 10**9)) / SAMPLES_PER_S


def _folders(works: Sequence[Work]) -> list[Run]:
    return list({work.run.folder: work.run for work in works}.values())


def _steps(run: Run, works: Sequence[Work]) -> int:
    return sum(work.steps for work in works if work.run == run)


def _kept_bytes(run: Run, steps: int) -> int:
    """The checkpoints that s3prl leaves in a run's folder: the newest few and the best."""
    if not steps:
        return 0
    content = run.suite.content(run.task)
    runner = content["runner"]
    kept = min(runner["max_keep"], steps // runner["save_step"]) + bool(run.task.best)
    return int(kept * BYTES_PER_WEIGHT * run.task.head_parameters(content["downstream_expert"]))

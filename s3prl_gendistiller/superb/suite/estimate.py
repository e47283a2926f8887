"""An estimate of the hours that a suite takes and of the checkpoints that it keeps.

The formula for the time of one command, and the measurements behind it, are in `duration`.
"""

from __future__ import annotations

import heapq
import itertools
import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from s3prl_gendistiller.superb.suite.dry_run import Work
from s3prl_gendistiller.superb.suite.duration import CORE_TFLOPS, GPU_TFLOPS, Durations, basis_in_words
from s3prl_gendistiller.superb.suite.suite import Suite
from s3prl_gendistiller.superb.suite.table import markdown

BYTES_PER_WEIGHT = 12  # a weight and Adam's two moments


@dataclass(frozen=True)
class Estimate:
    """Work of one group of seeds on one task.

    Attributes:
        steps: optimiser steps of all trainings together.
        seeds: hours of each model on one device; those of the first include the search.
        searched: whether the other seeds wait for the learning rate that the first one finds.
        gigabytes: size of the checkpoints that stay.
    """

    group: str
    task: str
    runs: int
    steps: int
    seeds: Sequence[float]
    searched: bool
    gigabytes: float

    @property
    def hours(self) -> float:
        return sum(self.seeds)


def estimate(
    suite: Suite, plan: Sequence[Work], gmacs: Mapping[str, float], tflops: float, *, on_gpu: bool = True
) -> list[Estimate]:
    """One estimate for each group of seeds and each task, in the order of the plan.

    Args:
        plan: the result of `planned_work`.
        gmacs, tflops, on_gpu: as in `Durations`.
    """
    durations = Durations(suite, gmacs, tflops, on_gpu=on_gpu)
    found: dict[tuple[str, str], list[Work]] = defaultdict(list)
    seconds: dict[tuple[str, str], dict[str, float]] = defaultdict(lambda: defaultdict(float))
    for work in plan:
        key, model = (work.run.model.group, work.run.task.name), work.run.model.name
        found[key].append(work)
        seconds[key][model] += durations.seconds(work)
    contents = {task.name: suite.content(task) for task in suite.tasks}
    return [
        Estimate(
            group,
            task,
            runs=len({work.run.folder for work in works}),
            steps=sum(work.steps for work in works),
            seeds=[one / 3600 for one in seconds[group, task].values()],
            searched=len(suite.candidates(works[0].run.task)) > 1,
            gigabytes=_kept_bytes(works, contents[task]) / 1e9,
        )
        for (group, task), works in found.items()
    ]


def wall_hours(estimates: Sequence[Estimate], at_a_time: int) -> float:
    """Hours of a suite with a number of runs at a time.

    When a slot is free, the longest waiting run starts in that slot; the other seeds of a group wait until the search
    of that group has ended.
    """
    number = itertools.count()  # keeps runs of equal length in order
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
    """10^12 floating point operations per second of each run, when the runs share the GPUs or the cores.

    Args:
        asked: the given --tflops, for one GPU or for all cores of a machine without a GPU; None for the assumption.
        devices: number of GPUs.
        at_a_time: number of runs.
    """
    whole = (asked or GPU_TFLOPS) * devices if on_gpu else asked or CORE_TFLOPS * (os.cpu_count() or 1)
    return whole / at_a_time


def describe(estimates: Sequence[Estimate], tflops: float, at_a_time: int, on_gpu: bool, *, given: bool = False) -> str:
    """The estimates as a table, and what they are based on.

    Args:
        tflops, at_a_time, on_gpu: as in `sustained`, which gives `tflops`.
        given: whether the user has stated the speed.
    """
    rows = [["student", "task", "runs", "optimiser steps", "time", "GB kept"]]
    for one in estimates:
        time = in_time(one.hours)
        rows.append([one.group, one.task, str(one.runs), f"{one.steps:,}", time, f"{one.gigabytes:.1f}"])
    total = sum(one.hours for one in estimates)
    return markdown(rows) + (
        f"{in_time(total)} of runs, {at_a_time} at a time: {in_time(wall_hours(estimates, at_a_time))}; "
        f"{sum(one.gigabytes for one in estimates):.1f} GB of checkpoints.\n"
        f"{basis_in_words(tflops, on_gpu, given=given)}\n"
        "--tflops sets what a device sustains (superb/suite/duration.py has the formula).\n"
    )


def in_time(hours: float) -> str:
    """Hours with a unit that fits: minutes below 100 of them, and at least one."""
    if hours * 60 < 100:
        return f"{max(1.0, hours * 60):.0f} min"
    return f"{hours:.1f} h" if hours < 100 else f"{hours:.0f} h"


def _kept_bytes(works: Sequence[Work], content: Mapping[str, Any]) -> int:
    """Bytes of the checkpoints that s3prl leaves in the folders of trained runs: the newest few and the best."""
    kept = 0
    for folder, run in {work.run.folder: work.run for work in works}.items():
        if steps := sum(work.steps for work in works if work.run.folder == folder):
            newest = min(content["runner"]["max_keep"], steps // content["runner"]["save_step"])
            weights = run.task.head_parameters(content["downstream_expert"])
            kept += (newest + bool(run.task.best)) * BYTES_PER_WEIGHT * weights
    return kept

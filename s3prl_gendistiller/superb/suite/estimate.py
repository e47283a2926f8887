"""An estimate of the hours that a suite takes and of the checkpoints that it keeps, from stated assumptions.

A command takes

    batches x BATCH_S  +  2 x audio x (upstream + 3 x head) / rate     seconds of training,
    2 x audio x (upstream + head) / rate  +  pairs x PAIR_S / cores    seconds of evaluation,

with the seconds of audio that s3prl reads (`Task.speech`), the multiply-adds of the upstream per second of audio
(counted on the model itself, `multiply_adds`), those of the head (its parameters x 50 frames; the backward pass costs
twice as much again), and the floating point operations per second that the device sustains.

The rate is the weakest assumption. One measurement is known: four trainings of PR with 12-layer students of 3.8 G
multiply-adds per second of audio took about 22 hours side by side on one A40; this formula gives 24 at 16e12 a second,
two fifths of the peak of that GPU. Other devices scale with their peak in 32-bit arithmetic, up to a factor of two. The
formula leaves out reading files and decoding with a language model, which may cost more. A core of a small server
sustained 0.043e12 to 0.066e12 on five tasks of the small preset with hubert_mini.
"""

from __future__ import annotations

import heapq
import itertools
import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from s3prl_gendistiller.distill.audio import SAMPLE_RATE
from s3prl_gendistiller.superb.corpus.sizes import Speech
from s3prl_gendistiller.superb.suite.dry_run import Work
from s3prl_gendistiller.superb.suite.suite import Suite
from s3prl_gendistiller.superb.suite.table import markdown
from s3prl_gendistiller.superb.tasks import Task

GPU_TFLOPS = 16.0
CORE_TFLOPS = 0.05
BATCH_S = 0.03
"""Seconds of a batch besides arithmetic (Python, launching kernels, waiting); an assumption."""
PAIR_S = 0.008
"""Seconds of s3prl's `match` on one core for a query of 1.4 s and a document of 6.6 s, 768 wide; measured."""
FRAMES_PER_S = 50
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


def estimate(suite: Suite, plan: Sequence[Work], gmacs: Mapping[str, float], tflops: float) -> list[Estimate]:
    """One estimate for each group of seeds and each task, in the order of the plan.

    Args:
        plan: the result of `planned_work`.
        gmacs: billions of multiply-adds per second of audio, by model.
        tflops: 10^12 floating point operations per second of one run.
    """
    found: dict[tuple[str, str], list[Work]] = defaultdict(list)
    for work in plan:
        found[work.run.model.group, work.run.task.name].append(work)
    contents = {task.name: suite.content(task) for task in suite.tasks}
    return [
        Estimate(
            group,
            task,
            runs=len({work.run.folder for work in works}),
            steps=sum(work.steps for work in works),
            seeds=_hours_of_seeds(works, contents[task], gmacs, tflops),
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


def describe(estimates: Sequence[Estimate], tflops: float, at_a_time: int, on_gpu: bool) -> str:
    """The estimates as a table, and the assumptions behind them; arguments as in `sustained`, which gives `tflops`."""
    rows = [["student", "task", "runs", "optimiser steps", "hours", "GB kept"]]
    for one in estimates:
        rows.append([one.group, one.task, str(one.runs), f"{one.steps:,}", f"{one.hours:.1f}", f"{one.gigabytes:.1f}"])
    total = sum(one.hours for one in estimates)
    return markdown(rows) + (
        f"{total:.1f} hours of runs, {at_a_time} at a time: {wall_hours(estimates, at_a_time):.1f} hours; "
        f"{sum(one.gigabytes for one in estimates):.0f} GB of checkpoints.\n"
        f"The hours assume {tflops:g} TFLOP/s for each run, {'on GPUs' if on_gpu else 'on this CPU'}, and may be wrong "
        "by a factor of two;\n--tflops sets what a device sustains (superb/suite/estimate.py has the formula). "
        "Finished runs are not repeated.\n"
    )


def _hours_of_seeds(
    works: Sequence[Work], content: Mapping[str, Any], gmacs: Mapping[str, float], tflops: float
) -> list[float]:
    seconds: dict[str, float] = defaultdict(float)
    for work in works:
        model = work.run.model.name
        seconds[model] += _seconds(work, content, gmacs[model] * 1e9, tflops * 1e12)
    return [one / 3600 for one in seconds.values()]


def _seconds(work: Work, content: Mapping[str, Any], upstream: float, rate: float) -> float:
    task = work.run.task
    speech = task.speech_of(work.run.suite.preset)
    head = FRAMES_PER_S * task.head_parameters(content["downstream_expert"]) if task.trained else 0
    if not work.steps:
        audio_s = speech.dev_s if work.split == task.dev else speech.test_s
        warping = speech.pairs * PAIR_S / (os.cpu_count() or 1)
        return work.checkpoints * (2 * audio_s * (upstream + head) / rate + warping)
    return training_seconds(task, speech, content, work.steps, upstream, rate)


def training_seconds(
    task: Task,
    speech: Speech,
    content: Mapping[str, Any],
    steps: int,
    upstream: float,
    rate: float,
    *,
    fine_tuned: bool = False,
) -> float:
    """Seconds of a training with its evaluations on dev, by the formula above.

    Args:
        speech: the audio that the task reads.
        content: configuration of run_downstream.py.
        steps: optimiser steps.
        upstream: multiply-adds of the upstream per second of audio.
        rate: floating point operations per second.
        fine_tuned: whether the upstream is trained too.
    """
    expert, runner = content["downstream_expert"], content["runner"]
    head = FRAMES_PER_S * task.head_parameters(expert)
    splits = {task.dev: speech.dev_s, task.test: speech.test_s}
    dev_s = sum(splits.get(split, 0.0) for split in runner["eval_dataloaders"]) * (steps // runner["eval_step"])
    batches = steps * runner["gradient_accumulate_steps"]
    train_s = batches * task.batch_utterances(expert) * min(speech.utterance_s, _longest_s(expert))
    arithmetic = train_s * ((3 if fine_tuned else 1) * upstream + 3 * head) + dev_s * (upstream + head)
    return batches * BATCH_S + 2 * arithmetic / rate


def _longest_s(expert: Mapping[str, Any]) -> float:
    return float(expert.get("datarc", {}).get("max_timestep", 10**9)) / SAMPLE_RATE


def _kept_bytes(works: Sequence[Work], content: Mapping[str, Any]) -> int:
    """Bytes of the checkpoints that s3prl leaves in the folders of trained runs: the newest few and the best."""
    kept = 0
    for folder, run in {work.run.folder: work.run for work in works}.items():
        if steps := sum(work.steps for work in works if work.run.folder == folder):
            newest = min(content["runner"]["max_keep"], steps // content["runner"]["save_step"])
            weights = run.task.head_parameters(content["downstream_expert"])
            kept += (newest + bool(run.task.best)) * BYTES_PER_WEIGHT * weights
    return kept

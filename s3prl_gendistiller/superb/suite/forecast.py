"""The forecast of a suite in words: the time of its commands, their checkpoints, and the files that they read."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cached_property

from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.host.feature_store import free_bytes, in_words
from s3prl_gendistiller.superb.cost import multiply_adds
from s3prl_gendistiller.superb.models import one_per_distillation
from s3prl_gendistiller.superb.suite import processes
from s3prl_gendistiller.superb.suite.dry_run import Work
from s3prl_gendistiller.superb.suite.duration import Durations, basis_in_words
from s3prl_gendistiller.superb.suite.estimate import Estimate, describe, estimate, in_time, sustained, wall_hours
from s3prl_gendistiller.superb.suite.remaining_work import RemainingWork
from s3prl_gendistiller.superb.suite.suite import Suite
from s3prl_gendistiller.superb.tasks import PUBLISHED_CORPORA


class Forecast:
    """The forecast of a plan.

    Args:
        plan: the commands, of `planned_work`.
        asked: the given --tflops; None for the assumptions in `duration`.
        at_a_time: number of runs.
        devices: the given --devices; empty for the device that run_downstream.py chooses.
        on_gpu: whether the runs use GPUs; None for what this machine has.
        speed: 10^12 floating point operations per second of each run, on other hosts; None for runs on this machine.
    """

    def __init__(
        self,
        suite: Suite,
        plan: Sequence[Work],
        asked: float | None,
        at_a_time: int,
        devices: Sequence[str],
        *,
        on_gpu: bool | None = None,
        speed: float | None = None,
    ) -> None:
        self.suite, self.plan, self.at_a_time, self._asked, self._here = suite, plan, at_a_time, asked, speed is None
        self._on_gpu = processes.needs_gpu(devices) if on_gpu is None else on_gpu
        gpus = min(len(set(devices)) or 1, at_a_time)
        self._rate = sustained(asked, self._on_gpu, gpus, at_a_time) if speed is None else speed

    def table(self) -> list[str]:
        """The estimate of each student and task, and what it is based on."""
        given = self._asked is not None
        text = describe(self._estimates, self._rate, self.at_a_time, self._on_gpu, given=given)
        return [*text.splitlines(), *self._without_gpu()]

    def line(self) -> str:
        """The estimate of all commands together."""
        total = sum(one.hours for one in self._estimates)
        number, steps = sum(work.checkpoints for work in self.plan), sum(work.steps for work in self.plan)
        commands = f"{number} trainings and tests, {steps:,} optimiser steps"
        times = f"about {in_time(total)} of runs, {self.at_a_time} at a time: {in_time(self._hours)}"
        large = self.suite.preset in PUBLISHED_CORPORA and not self._on_gpu
        smaller = " --preset small is made for a CPU." if large else ""
        basis = basis_in_words(self._rate, self._on_gpu, given=self._asked is not None)
        return f"{commands}: {times}; {self._gigabytes:.1f} GB of checkpoints. {basis}{smaller}"

    def paths(self) -> list[str]:
        """The files and folders that the tasks read, and whether they are there."""
        there = {path: os.path.exists(os.path.expandvars(path)) for _, path in self.suite.paths()}
        return [f"{name} reads {path}{'' if there[path] else ' (not there)'}" for name, path in self.suite.paths()]

    def require_room(self) -> None:
        """UserError if the disk of the suite's folder has less free space than the checkpoints take."""
        free = free_bytes(self.suite.out)
        if self._gigabytes * 1e9 > free:
            found = f"found {in_words(free)} free on its disk, expected {self._gigabytes:.1f} GB for checkpoints"
            raise UserError(f"--out {self.suite.out}: {found}; make room, or give a folder on another disk")

    def remaining(self) -> RemainingWork:
        durations = Durations(self.suite, self._gmacs, self._rate, on_gpu=self._on_gpu)
        return RemainingWork(self.plan, durations, self._hours)

    @property
    def _hours(self) -> float:
        return wall_hours(self._estimates, self.at_a_time)

    @property
    def _gigabytes(self) -> float:
        return sum(one.gigabytes for one in self._estimates)

    @cached_property
    def _estimates(self) -> list[Estimate]:
        return estimate(self.suite, self.plan, self._gmacs, self._rate, on_gpu=self._on_gpu)

    @cached_property
    def _gmacs(self) -> dict[str, float]:
        """Billions of multiply-adds per second of audio, of the models that the plan runs."""
        planned = {work.run.model.distillation for work in self.plan}
        models = [one for one in one_per_distillation(self.suite.models) if one.distillation in planned]
        sizes = {model.distillation: multiply_adds.size(model)[1] for model in models}
        return {one.name: sizes[one.distillation] for one in self.suite.models if one.distillation in sizes}

    def _without_gpu(self) -> list[str]:
        """A line for a plan for GPUs on a machine that has none."""
        if not self._on_gpu or not self._here or processes.needs_gpu([]):
            return []
        jobs = processes.jobs_that_fit(None)
        rate = sustained(None, False, 1, jobs)
        hours = wall_hours(estimate(self.suite, self.plan, self._gmacs, rate, on_gpu=False), jobs)
        return [
            f"This machine has no GPU. On its {os.cpu_count()} cores the same commands take about {in_time(hours)}."
        ]

"""A cluster whose jobs are processes of this machine, for tests of what controls jobs."""

from __future__ import annotations

import multiprocessing
import multiprocessing.process
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from s3prl_gendistiller.superb.cluster.engine import ClusterEngine
from s3prl_gendistiller.superb.cluster.host_run import Order, run_on_host

PLACE = "tests.superb.cluster.commands"


class Spawning:
    """`engine.Cluster`; two controllers that share one of these see the same jobs."""

    name = "slurm"

    def __init__(self) -> None:
        self.jobs: dict[str, multiprocessing.process.BaseProcess] = {}
        self.silent = False

    def stopped(self, job: str) -> str:
        return f"goes on as job {job}"

    def submit(self, order: Order) -> str:
        process = multiprocessing.get_context("spawn").Process(target=run_on_host, args=(order,))
        process.start()
        self.jobs[str(process.pid)] = process
        return str(process.pid)

    def gone(self, job: str, since: float) -> str | None:
        if self.silent:
            return None
        return "COMPLETED" if job not in self.jobs or not self.jobs[job].is_alive() else None

    def advice(self, job: str) -> str:
        return "give more memory"

    def cancelling(self, jobs: Sequence[str]) -> str:
        return f"scancel {' '.join(jobs)}"

    def end(self) -> None:
        for process in self.jobs.values():
            process.kill()
            process.join()


def engine(cluster: Spawning, folder: Path, command: str, flags: Sequence[str] = ()) -> ClusterEngine:
    template = Order("", f"{PLACE}:{command}", (), "", 1, str(folder), imported=PLACE)
    return ClusterEngine(cluster, template, flags, poll_s=0.05, late_s=0.2)


def wait_until(true: Callable[[], bool], seconds: float = 60.0) -> None:
    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until
        time.sleep(0.02)

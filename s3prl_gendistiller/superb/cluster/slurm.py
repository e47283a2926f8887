"""SLURM, through submitit: one job for each command, or for several (see `handover`).

Whether a job has ended is read from the ending that the host writes and from squeue, never from accounting, which many
clusters lack. This module imports no torch, since each job imports it.
"""

from __future__ import annotations

import getpass
import logging
import os
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.host.paths import VARIABLE
from s3prl_gendistiller.superb.cluster.handover import hand_over, orders
from s3prl_gendistiller.superb.cluster.host_run import Order, end_runs, run_on_host
from s3prl_gendistiller.superb.cluster.probe import PROBE, needed, write_probe

if TYPE_CHECKING:
    from s3prl_gendistiller.superb.suite.suite import Suite

JOBS = "jobs"
SQUEUE_EVERY_S = 20.0
ANSWER_WITHIN_S = 60.0
ENDED = {"BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED"}
ENDED |= {"REVOKED", "TIMEOUT"}
_DAY_MINUTES = 24 * 60
INSTALL = "--cluster slurm needs submitit: pip install 's3prl-gendistiller[cluster]'"

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Resources:
    """What one run is given.

    Attributes:
        cpus, gpus: number.
        memory_gib: memory in GiB.
        hours: time limit; None for that of the partition.
        partition: None for the cluster's own choice.
        options: further options of sbatch, by name without dashes; an empty value is a switch.
    """

    cpus: int
    gpus: int
    memory_gib: float
    hours: float | None = None
    partition: str | None = None
    options: Mapping[str, str] = field(default_factory=dict)

    @property
    def minutes(self) -> int | None:
        """The time limit in whole minutes, as SLURM takes it."""
        return None if self.hours is None else max(1, round(self.hours * 60))


class HostRun:
    """What a job calls. SLURM's notice before it ends a job calls `checkpoint`, and the job is queued again.

    Args:
        order: the first order of the job.
        folder: folder of jobs, in which further orders are handed over.
    """

    def __init__(self, order: Order, folder: str) -> None:
        self.order, self.folder = order, folder

    def __call__(self) -> int:
        job, status = str(_submitit().JobEnvironment().job_id), 0
        for order in orders(self.order, Path(self.folder), job):
            self.order = order
            status = run_on_host(order)
            if status < 0:  # the whole job may be about to be killed
                break
        return status

    def checkpoint(self) -> Any:
        from submitit.helpers import DelayedSubmission

        end_runs()
        return DelayedSubmission(self)


class Queue:
    """The jobs of this user, from one call of squeue for all of them.

    Args:
        every_s: seconds between two calls.
    """

    def __init__(self, every_s: float = SQUEUE_EVERY_S) -> None:
        self._every_s = every_s
        self._guard = threading.Lock()
        self._jobs: dict[str, tuple[str, str]] = {}
        self._began = self._tried = float("-inf")  # of the last call that was answered, and of the last call

    def gone(self, job: str, since: float) -> str | None:
        """`engine.Cluster.gone`."""
        with self._guard:
            if time.monotonic() - self._tried > self._every_s:
                self._read()
            if self._began < since:
                return None
            state, host = self._jobs.get(job, ("", ""))
        if not state:
            return "squeue no longer lists it"
        return f"{state}{f' on {host}' if host else ''}" if state in ENDED else None

    def _read(self) -> None:
        self._tried = time.monotonic()
        command = ["squeue", f"--user={getpass.getuser()}", "--noheader", "--states=all", "--format=%A|%T|%N"]
        status, answer, problem = _ask(command)
        if status:
            logger.warning("squeue does not answer (%s); jobs are waited for all the same", problem)
            return
        rows = [line.strip().split("|") for line in answer.splitlines()]
        self._jobs = {row[0]: (row[1], row[2]) for row in rows if len(row) == 3}
        self._began = self._tried


class Slurm:
    """`engine.Cluster` over SLURM.

    Args:
        out: folder of the suite, which all hosts see.
        kind: submitit's executor; another than slurm is for tests.
        queue: what knows the states of jobs.
    """

    name = "slurm"

    def __init__(self, out: Path, resources: Resources, *, kind: str = "slurm", queue: Queue | None = None) -> None:
        self.folder, self.resources, self._kind = out.absolute() / JOBS, resources, kind
        self._queue = queue or Queue()
        self._guard = threading.Lock()
        self._executor: Any = None
        self._probe: str | None = None

    def require(self) -> None:
        """UserError, before anything runs, if SLURM is not there or refuses a job with these resources."""
        _submitit()
        if self._kind != "slurm":
            return
        if shutil.which("sbatch") is None:
            found = "found no sbatch on PATH, expected a machine from which SLURM's jobs are submitted"
            raise UserError(f"--cluster slurm: {found}; log in on such a machine, or leave --cluster out")
        flags = self._flags()
        status, _, problem = _ask(["sbatch", "--test-only", *flags, "--wrap=true"])
        if status:
            raise UserError(f"--cluster slurm: sbatch refuses a job with {' '.join(flags)}: {problem}; change them")

    def submit(self, order: Order) -> str:
        """`engine.Cluster.submit`."""
        log, order = Path(order.log), replace(order, probe=self._probe)
        with self._guard:
            if (job := hand_over(order, self.folder)) is not None:
                return job
            if self._executor is None:
                self._executor = self._made()
            self._executor.update_parameters(name=f"{log.parent.parent.name} {log.parent.name} {log.stem}")
            try:
                return str(self._executor.submit(HostRun(order, str(self.folder))).job_id)
            except (_submitit().core.utils.FailedJobError, OSError) as error:
                said = re.findall(r"sbatch: error: (.*)", str(error)) or str(error).splitlines()[-1:]
                raise UserError(f"sbatch refused the job: {' | '.join(said)}") from error

    def gone(self, job: str, since: float) -> str | None:
        """`engine.Cluster.gone`."""
        return self._queue.gone(job, since)

    def advice(self, job: str) -> str:
        """`engine.Cluster.advice`."""
        messages = self.folder / f"{job}_0_log.err"
        if not messages.exists():
            return f"the job left no {messages}: its host may not see this folder; give an --out that all hosts share"
        remedy = "give more with --memory-per-run or --hours-per-run, or look at the host, then repeat the command"
        return f"the job's: {messages}; {remedy}"

    def slots(self) -> None:
        """`engine.Cluster.slots`."""

    def prepare(self, suite: Suite) -> None:
        """Writes the probe with which a host compares itself before each run; hosts are not known before that."""
        write_probe(suite.out, needed(suite, os.environ.get(VARIABLE)), suite.cache)
        self._probe = str(suite.out.absolute() / PROBE)

    def close(self) -> None:
        """`engine.Cluster.close`: jobs go on."""

    def stopped(self, job: str) -> str:
        """`engine.Cluster.stopped`."""
        return f"goes on as job {job}"

    def cancelling(self, jobs: Sequence[str]) -> str:
        """`engine.Cluster.cancelling`."""
        return f"scancel {' '.join(jobs)}"

    def describe(self) -> str:
        """What is submitted, in words."""
        return f"each command is a job: sbatch {' '.join(self._flags())}"

    def _flags(self) -> list[str]:
        """The resources of a run as sbatch takes them."""
        given = self.resources
        options = {"cpus-per-task": str(given.cpus), "mem": f"{round(given.memory_gib * 1024)}M"}
        if given.gpus:
            options["gpus-per-node"] = str(given.gpus)
        if given.partition is not None:
            options["partition"] = given.partition
        if given.minutes is not None:
            options["time"] = str(given.minutes)
        return [f"--{name}={value}" if value else f"--{name}" for name, value in {**options, **given.options}.items()]

    def _made(self) -> Any:
        """submitit's executor with the resources of a run."""
        executor = _submitit().AutoExecutor(self.folder, cluster=self._kind)
        given = self.resources
        minutes = given.minutes
        if minutes is None:
            minutes = _limit_minutes(given.partition) if self._kind == "slurm" else _DAY_MINUTES
        executor.update_parameters(
            timeout_min=minutes,
            cpus_per_task=given.cpus,
            mem_gb=given.memory_gib,
            gpus_per_node=given.gpus or None,
            slurm_partition=given.partition,
            slurm_additional_parameters={name: value or True for name, value in given.options.items()} or None,
        )
        return executor


def _submitit() -> Any:
    try:
        import submitit
    except ImportError as error:
        raise UserError(INSTALL) from error
    return submitit


def _limit_minutes(partition: str | None) -> int:
    """The default time of a partition in minutes, else its limit, else 0 for none; submitit's own default is 5."""
    chosen = [] if partition is None else [f"--partition={partition}"]
    _, answer, _ = _ask(["sinfo", "--noheader", "--format=%P|%L|%l", *chosen])
    rows = [line.strip().split("|") for line in answer.splitlines()]
    for name, default, limit in (row for row in rows if len(row) == 3):
        if name.endswith("*") or partition is not None:
            found = _minutes(default)
            return _minutes(limit) or 0 if found is None else found
    return 0


def _minutes(text: str) -> int | None:
    """Minutes of SLURM's [days-][hours:]minutes:seconds; None for infinite and n/a."""
    found = re.fullmatch(r"(?:(\d+)-)?(?:(\d+):)?(\d+):(\d+)", text.strip())
    if found is None:
        return None
    days, hours, minutes, _ = (int(part or 0) for part in found.groups())
    return days * _DAY_MINUTES + hours * 60 + minutes


def _ask(command: Sequence[str]) -> tuple[int, str, str]:
    """Exit status, output and last message of a command of SLURM."""
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=ANSWER_WITHIN_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return 1, "", str(error)
    lines = [line.replace("sbatch: error: ", "") for line in answer.stderr.strip().splitlines()]
    return answer.returncode, answer.stdout, "; ".join(lines)

"""The engine of a cluster, which `benchmark.run_suite` calls in the place of `processes.Processes`.

The controller, the process that runs the suite, may be killed and started again at any time. What it needs is in files
beside the logs (see `ticket`): a new controller waits for a job in flight, and takes the result of a job that ended
meanwhile.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.superb.cluster.host_run import Order, outcome
from s3prl_gendistiller.superb.cluster.ticket import (
    Ticket,
    digest,
    ending_file,
    new_ticket,
    read_ending,
    read_ticket,
    ticket_file,
    write_ticket,
)

if TYPE_CHECKING:
    from s3prl_gendistiller.superb.suite.suite import Suite

REPEATS = 3
"""How often a job is repeated without a new checkpoint."""
POLL_S = 0.5
LATE_S = 10.0
"""How long an ending is waited for after the job has gone; a network file system shows a new file late."""
CHECKPOINTS = "states-*.ckpt"

logger = logging.getLogger(__name__)


class Cluster(Protocol):
    """What starts jobs, each of which calls `host_run.run_on_host` with an order.

    Attributes:
        name: value of --cluster.
    """

    name: str

    def describe(self) -> str:
        """What is submitted, in words."""

    def require(self) -> None:
        """UserError, before anything runs, if the cluster is not there or refuses the resources of a run."""

    def slots(self) -> int | None:
        """Number of runs that the cluster holds at a time; None where jobs wait in a queue, or nothing is known yet."""

    def prepare(self, suite: Suite) -> None:
        """UserError, before anything runs, if hosts lack what the runs need; within the lock of the suite's folder."""

    def submit(self, order: Order) -> str:
        """Submits a job and returns its number; UserError if it is refused."""

    def gone(self, job: str, since: float) -> str | None:
        """How a job ended, in words; None while it waits or runs, or as long as that is not known.

        Args:
            since: time of its submission, or of the controller's start, of `time.monotonic`.
        """

    def advice(self, job: str) -> str:
        """Where the messages of a job are, and what to do if it ended without a result."""

    def stopped(self, job: str) -> str:
        """What becomes of a job when the suite is stopped."""

    def cancelling(self, jobs: Sequence[str]) -> str:
        """How the user cancels jobs that go on; empty if none does."""

    def close(self) -> None:
        """Ends what ends with the controller."""


class ClusterEngine:
    """Runs commands on the hosts of a cluster, whose jobs may outlive the controller; called from several threads.

    Args:
        template: an order, whose name, arguments and log are replaced.
        flags: further arguments of every command.
        poll_s, late_s: see `POLL_S` and `LATE_S`.
    """

    def __init__(
        self,
        cluster: Cluster,
        template: Order,
        flags: Sequence[str] = (),
        *,
        poll_s: float = POLL_S,
        late_s: float = LATE_S,
    ) -> None:
        self.cluster, self._template, self._flags = cluster, template, tuple(flags)
        self._poll_s, self._late_s = poll_s, late_s
        self._stopped = threading.Event()
        self._waiting: dict[Path, Ticket] = {}
        self._began = time.monotonic()
        self._submitted: dict[str, float] = {}  # time of the last submission of each job

    def __call__(self, arguments: Sequence[str], log: Path) -> None:
        """Runs run_downstream.py on some host and waits for its end, as `experiment_folder.Launch`.

        A job of an earlier controller with the same arguments is waited for, or its result is taken.

        Raises:
            UserError: the run failed, the engine was stopped, or a job ended `REPEATS` times without a result or a new
                checkpoint.
        """
        if self._stopped.is_set():
            raise UserError("was not started, because the suite was stopped")
        given = (*arguments, *self._flags)
        ticket = self._claim(given, log)
        order = replace(self._template, order=ticket.order, arguments=given, log=str(log))
        try:
            if not ticket.job and outcome(order) is None:
                ticket = self._submit(order, ticket)
            self._wait(order, ticket)
        finally:
            self._waiting.pop(log, None)

    def stop(self) -> None:
        """Ends the waiting of all calls; the jobs of a cluster with a queue go on, and `in_flight` names them."""
        self._stopped.set()

    def in_flight(self) -> list[str]:
        """The numbers of the jobs that are waited for."""
        return sorted(ticket.job for ticket in list(self._waiting.values()) if ticket.job)

    def _claim(self, arguments: Sequence[str], log: Path) -> Ticket:
        """The ticket of a job in flight, or of one that succeeded, with the same arguments; otherwise a new ticket."""
        ticket = read_ticket(log)
        if ticket is not None:
            self._require_own(ticket, log)
            if ticket.arguments == digest(arguments):
                ending = read_ending(log, ticket.order)
                if ending is None or ending.status <= 0:  # the job has not ended, was killed, or has succeeded
                    if ticket.job and ending is None:
                        logger.info("%s: goes on with job %s", log.parent, ticket.job)
                    return ticket
            else:
                self._wait_for_other(ticket, log)
        return write_ticket(log, new_ticket(arguments, self.cluster.name))

    def _require_own(self, ticket: Ticket, log: Path) -> None:
        if ticket.engine != self.cluster.name:
            raise UserError(_in_flight(log, ticket))

    def _wait_for_other(self, ticket: Ticket, log: Path) -> None:
        """Waits for the end of a job with other arguments, which may write into the same folder."""
        while ticket.job and read_ending(log, ticket.order) is None:
            if self._gone(ticket.job) is not None:
                return
            if self._stopped.wait(self._poll_s):
                raise UserError(f"was not started, because job {ticket.job} still runs there")

    def _submit(self, order: Order, ticket: Ticket) -> Ticket:
        log = Path(order.log)
        ticket = write_ticket(log, replace(ticket, job=self.cluster.submit(order)))
        self._submitted[ticket.job] = time.monotonic()
        self._waiting[log] = ticket
        logger.debug("%s: job %s", log, ticket.job)
        return ticket

    def _wait(self, order: Order, ticket: Ticket) -> None:
        log = Path(order.log)
        self._waiting[log] = ticket
        before = _checkpoints(log.parent)
        while outcome(order) is None:
            if self._stopped.wait(self._poll_s):
                raise UserError(self.cluster.stopped(ticket.job))
            end = self._end(order, ticket)
            if end is not None and outcome(order) is None:
                after = _checkpoints(log.parent)
                repeats = ticket.repeats + 1 if after == before else 0
                ticket, before = self._repeat(order, replace(ticket, repeats=repeats), end), after

    def _end(self, order: Order, ticket: Ticket) -> str | None:
        """How a job ended that left no ending, or one to repeat; None as long as it goes on."""
        log = Path(order.log)
        ending = read_ending(log, ticket.order)
        if ending is not None and ending.killed:
            return f"killed by signal {-ending.status} on {ending.host}"
        end = self._gone(ticket.job)
        until = time.monotonic() + self._late_s
        while end is not None and outcome(order) is None and time.monotonic() < until:
            self._stopped.wait(self._poll_s / 2)
        return end

    def _gone(self, job: str) -> str | None:
        return self.cluster.gone(job, self._submitted.get(job, self._began))

    def _repeat(self, order: Order, ticket: Ticket, end: str) -> Ticket:
        """Submits an order again."""
        log = Path(order.log)
        if ticket.repeats > REPEATS:
            ticket_file(log).unlink(missing_ok=True)  # the next command begins to count anew
            found = f"job {ticket.job} ended without a result ({end}), {REPEATS} repeats reached no new checkpoint"
            raise UserError(
                f"{found}; the run's messages: {log.with_suffix('.err')}; {self.cluster.advice(ticket.job)}"
            )
        logger.warning("%s: job %s ended without a result (%s); it is repeated", log.parent, ticket.job, end)
        ticket = write_ticket(log, replace(ticket, job=""))
        ending_file(log).unlink(missing_ok=True)
        return self._submit(order, ticket)


def require_no_jobs(out: Path, runs: str) -> None:
    """UserError if a job of a cluster may still write into a suite's folder, before this machine runs the suite itself.

    Args:
        runs: name of the folder of the runs below `out`.
    """
    for log, ticket in _tickets(out, runs):
        if not _has_ended(log, ticket):
            raise UserError(_in_flight(log, ticket))


def retire(out: Path, runs: str) -> None:
    """Removes the files of all jobs that have ended, at the orderly end of a suite, which has recorded their results.

    A later suite then runs a command again, if the user has removed its record. See `require_no_jobs`.
    """
    for log, ticket in _tickets(out, runs):
        if _has_ended(log, ticket):
            ticket_file(log).unlink(missing_ok=True)
            ending_file(log).unlink(missing_ok=True)


def _tickets(out: Path, runs: str) -> Iterator[tuple[Path, Ticket]]:
    """The logs of all runs that have a ticket."""
    for path in sorted((out / runs).glob("*/*/*.job.json")):
        log = path.with_name(path.name.replace(".job.json", ".log"))
        ticket = read_ticket(log)
        if ticket is not None:
            yield log, ticket


def _has_ended(log: Path, ticket: Ticket) -> bool:
    ending = read_ending(log, ticket.order)
    return ending is not None and not ending.killed


def _in_flight(log: Path, ticket: Ticket) -> str:
    found = f"job {ticket.job or '(not submitted yet)'} of --cluster {ticket.engine} has no ending"
    remedy = f"go on with --cluster {ticket.engine}, or cancel the job and remove this file"
    return f"{ticket_file(log)}: {found}; {remedy}"


def _checkpoints(folder: Path) -> set[tuple[str, int]]:
    """Names and times of the checkpoints of a run, which change with each new one."""
    found = set()
    for path in folder.glob(CHECKPOINTS):
        try:
            found.add((path.name, path.stat().st_mtime_ns))
        except OSError:  # deleted meanwhile
            continue
    return found

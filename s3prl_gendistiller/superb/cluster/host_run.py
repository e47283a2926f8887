"""What happens on a host: one command of run_downstream.py, alone in its folder, and its ending beside its log.

This module imports neither torch nor s3prl; the process that runs the command does.
"""

from __future__ import annotations

import contextlib
import multiprocessing.connection
import os
import pkgutil
import signal
import socket
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.host.lock import locked
from s3prl_gendistiller.superb.cluster.probe import problems, read_probe
from s3prl_gendistiller.superb.cluster.ticket import Ending, digest, read_ending, read_ticket, ticket_file, write_ending
from s3prl_gendistiller.superb.suite import run_process
from s3prl_gendistiller.superb.suite.run_process import Inherited, begin_log, starting, surrounded_by, surroundings

LOCK = ".superb_run.lock"
SUPERSEDED = 75
"""Status of a job whose order is no longer that of the ticket; the job has done nothing."""
LACKING = 2
"""Status of a command that was not started, because the host lacks something."""
SEEN_WITHIN_S = 60.0  # a network file system shows a new file this late
KILLED_WITHIN_S = 10.0
LOST = 255  # multiprocessing's status of a process whose end it could not observe
_POLL_S = 1.0
_running: set[multiprocessing.process.BaseProcess] = set()
_contexts: dict[bool, Any] = {}  # how processes start here, without and with a GPU; finding out takes seconds


@dataclass(frozen=True)
class Order:
    """One command of run_downstream.py for a host, as plain values.

    Attributes:
        order: name of the order, of its ticket.
        main: dotted place of the main function, module:name.
        arguments: of run_downstream.py.
        log: file of its output, an absolute path.
        threads: torch's threads.
        folder: folder that the command is started in.
        environment: variables that the command needs, such as SUPERB_DATA.
        probe: file that the host compares itself with before the run; None to compare nothing.
        gpu: whether the command computes on a GPU.
        imported: module that the process imports from which the command's process is forked.
    """

    order: str
    main: str
    arguments: tuple[str, ...]
    log: str
    threads: int
    folder: str
    environment: tuple[tuple[str, str], ...] = ()
    probe: str | None = None
    gpu: bool = False
    imported: str = run_process.IMPORTED_ONCE


def run_on_host(order: Order) -> int:
    """Carries out an order, unless it was carried out before, and writes its ending.

    Returns:
        The exit status of the command, below 0 the number of the signal that killed it; `SUPERSEDED` if the controller
        has given up the order.
    """
    log = Path(order.log)
    _wait_for_file(ticket_file(log))
    with _alone(log.parent) as lock:
        ticket = read_ticket(log)
        if ticket is None or ticket.order != order.order:
            print(f"{log}: order {order.order} was given up; nothing is done", flush=True)
            return SUPERSEDED
        before = read_ending(log, order.order)
        if before is not None and not before.killed:
            return before.status
        problem = _lacks(order)
        status = LACKING if problem else _run(order, log, lock)
        write_ending(log, Ending(order.order, digest(order.arguments), status, socket.gethostname(), problem))
        return status


def outcome(order: Order) -> Ending | None:
    """The ending of an order, once it has one that is not to be repeated.

    Raises:
        UserError: the command failed, in the words of `run_process.failure`.
    """
    log = Path(order.log)
    ending = read_ending(log, order.order)
    if ending is None or ending.killed:
        return None
    if ending.problem:
        raise UserError(f"was not started on {ending.host}: {ending.problem}")
    if ending.status:
        raise run_process.failure(ending.status, log.with_suffix(".err"), "")
    return ending


def end_runs() -> None:
    """Ends the commands that this process runs, without an ending; their next job goes on with them."""
    for process in list(_running):
        process.terminate()
        process.join(KILLED_WITHIN_S)
        process.kill()


def given_environment(names: Mapping[str, str | None]) -> tuple[tuple[str, str], ...]:
    """The variables that have a value, for `Order.environment`."""
    return tuple((name, value) for name, value in names.items() if value is not None)


def _lacks(order: Order) -> str:
    """What this host lacks by the order's probe, in words; empty if it lacks nothing."""
    return "" if order.probe is None else "; ".join(problems(read_probe(order.probe), socket.gethostname()))


def _run(order: Order, log: Path, lock: int) -> int:
    environment = {**surroundings(order.threads), **dict(order.environment)}
    trial = run_process.compute_on_gpu if order.gpu else None
    messages = begin_log(log, order.arguments, {})
    with surrounded_by(environment), _signals_kept():
        context = _contexts.get(order.gpu) or starting(trial, environment, order.imported)
        _contexts[order.gpu] = context
        given = (order, str(messages), environment, Inherited(lock))
        process = context.Process(target=_run_command, args=given)
        process.start()
    _running.add(process)
    try:
        multiprocessing.connection.wait([process.sentinel])
        process.join()
    finally:
        _running.discard(process)
    status = process.exitcode
    return -signal.SIGKILL if status is None or status == LOST else status


def _run_command(order: Order, messages: str, environment: dict[str, str], lock: int) -> None:
    os.chdir(order.folder)
    main = pkgutil.resolve_name(order.main)
    run_process.run_main(main, order.arguments, order.log, messages, environment, lock)


@contextlib.contextmanager
def _signals_kept() -> Iterator[None]:
    """Processes that start in the block do not see a cluster's notice, which is for the process that started them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1, signal.SIGUSR2, signal.SIGCONT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[int]:
    """Waits until no other run writes into a folder, and locks it."""
    with contextlib.ExitStack() as stack:
        while True:
            try:
                yield stack.enter_context(locked(folder, LOCK, "another run writes into it", inherited=True))
                return
            except UserError as error:
                if not isinstance(error.__cause__, BlockingIOError):
                    raise
            time.sleep(_POLL_S)


def _wait_for_file(path: Path) -> None:
    """UserError if a file, which the controller has written, is not seen here."""
    until = time.monotonic() + SEEN_WITHIN_S
    while not path.is_file():
        if time.monotonic() > until:
            raise UserError(f"{path}: not seen on {socket.gethostname()}; give an --out that all hosts share")
        time.sleep(_POLL_S)

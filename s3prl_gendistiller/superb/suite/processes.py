"""The pool of processes that run run_downstream.py on this machine, and how many of them it holds."""

from __future__ import annotations

import contextlib
import multiprocessing.connection
import os
import queue
import threading
from collections.abc import Iterator, Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path

import torch

from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.host import lock as host_lock
from s3prl_gendistiller.host.memory import available_gib
from s3prl_gendistiller.outputs import check_writable
from s3prl_gendistiller.superb.suite.run_process import (
    Inherited,
    Main,
    begin_log,
    compute_on_gpu,
    failure,
    run_main,
    starting,
    surrounded_by,
    surroundings,
)

LOCK = ".superb.lock"
GIB_PER_JOB = 2.5
VISIBLE = "CUDA_VISIBLE_DEVICES"


class Processes:
    """Starts runs, from any thread.

    Args:
        main: the main function of run_downstream.py, in a module that another process can import.
        threads: torch's threads in each run.
        lock: descriptor of an open file that each run keeps open, see `locked`.
        devices: one device, such as cuda:1, for each run at a time; without any, run_downstream.py chooses.
    """

    def __init__(self, main: Main, threads: int, lock: int, devices: Sequence[str] = ()) -> None:
        self.main, self.threads, self.lock = main, threads, lock
        self._context = starting(compute_on_gpu if needs_gpu(devices) else None, surroundings(threads))
        self._chosen = bool(devices)
        self._devices: queue.SimpleQueue[str] = queue.SimpleQueue()
        for device in devices:
            self._devices.put(device)
        self._running: set[BaseProcess] = set()
        self._guard = threading.Lock()
        self._stopped = False

    def __call__(self, arguments: Sequence[str], log: Path) -> None:
        """Runs run_downstream.py; UserError with the last lines of its messages if it failed.

        Args:
            log: file to which the output is appended. Messages and progress bars go into an .err file beside it, since
                they would break lines of the output.
        """
        device = self._devices.get() if self._chosen else None
        try:
            self._run_on(device, arguments, log)
        finally:
            if device is not None:
                self._devices.put(device)

    def _run_on(self, device: str | None, arguments: Sequence[str], log: Path) -> None:
        flags, visible = placed(device, os.environ.get(VISIBLE))
        arguments = [*arguments, *flags]
        environment = {**surroundings(self.threads), **visible}
        messages = begin_log(log, arguments, visible)
        with self._guard:
            if self._stopped:
                raise UserError("was not started, because the suite was stopped")
            given = (self.main, list(arguments), str(log), str(messages), environment, Inherited(self.lock))
            process = self._context.Process(target=run_main, args=given)
            with surrounded_by(environment):  # inherited by the process from which runs are forked, when it starts
                process.start()
            self._running.add(process)
        multiprocessing.connection.wait([process.sentinel])
        with self._guard:  # a start polls all processes; of two polls at once one gets 255 in place of the status
            process.join()
            self._running.discard(process)
        if process.exitcode:
            raise failure(process.exitcode, messages, "repeat with a smaller --jobs")

    def stop(self) -> None:
        """Ends the runs; no further run starts."""
        with self._guard:
            self._stopped = True
            for process in self._running:
                process.terminate()


def locked(folder: Path) -> contextlib.AbstractContextManager[int]:
    """Locks a folder against a second suite, also while runs of a killed suite still write there.

    Yields:
        The descriptor of the locked file, which the runs inherit: the lock ends with the last of the runs.
    """
    check_writable(folder / LOCK, "--out", folder=False)
    remedy = "wait until it has ended, stop it, or give another --out"
    holder = f"another suite, or a run of a killed suite, still writes into this folder; {remedy}"
    return host_lock.locked(folder, LOCK, holder, inherited=True)


@contextlib.contextmanager
def running(folder: Path, main: Main, jobs: int, devices: Sequence[str] = ()) -> Iterator[Processes]:
    """Locks a folder and yields `Processes` for its `jobs` runs at a time; ends the remaining runs."""
    with locked(folder) as descriptor:
        processes = Processes(main, threads_of(jobs), descriptor, devices)
        try:
            yield processes
        finally:
            processes.stop()


def placed(device: str | None, visible: str | None) -> tuple[list[str], dict[str, str]]:
    """Flags and environment that put a run on a device.

    A run on the second GPU has only that GPU visible, because s3prl's ASV moves a mask to the first visible GPU and
    ignores ``--device``.

    Args:
        device: name such as cuda:1; None leaves the choice to run_downstream.py.
        visible: the present CUDA_VISIBLE_DEVICES; the number of the device is an index into it.
    """
    if device is None:
        return [], {}
    device_type, _, number = device.partition(":")
    if device_type != "cuda" or not number:
        return ["--device", device], {}
    names = visible.split(",") if visible else []
    name = names[int(number)] if int(number) < len(names) else number
    return ["--device", "cuda"], {VISIBLE: name}


def needs_gpu(devices: Sequence[str]) -> bool:
    """Whether runs use a GPU: on these devices, or without any on the device that run_downstream.py chooses."""
    return any(device.startswith("cuda") for device in devices) if devices else torch.cuda.is_available()


def jobs_that_fit(asked: int | None, devices: Sequence[str] = ()) -> int:
    """Number of simultaneous runs: the given number, else one per device, else one on a GPU or one per core.

    Fewer if memory is short.
    """
    wanted = asked or len(devices) or (1 if torch.cuda.is_available() else os.cpu_count() or 1)
    return max(1, min(wanted, int(available_gib() / GIB_PER_JOB)))


def threads_of(jobs: int) -> int:
    return max(1, (os.cpu_count() or 1) // jobs)

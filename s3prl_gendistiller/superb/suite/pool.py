"""run_downstream.py in processes of their own, and how many of them a machine holds.

Half of a short run would be spent on importing torch and s3prl. On Linux without a GPU one process imports them once
and every run is forked from it. Elsewhere each run imports for itself: importing s3prl.hub asks for the GPUs
(`upstream/log_stft`), after which no forked process may use one.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import queue
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.process import BaseProcess
from multiprocessing.reduction import DupFd
from pathlib import Path
from typing import Any

import torch

from s3prl_gendistiller.distill.processes import end_with_parent
from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.host import lock as host_lock
from s3prl_gendistiller.host.devices import check_device
from s3prl_gendistiller.host.memory import available_gib
from s3prl_gendistiller.outputs import check_writable

LOCK = ".superb.lock"
GIB_PER_JOB = 2.5
LAST_LINES = 4
VISIBLE = "CUDA_VISIBLE_DEVICES"
IMPORTED_ONCE = "s3prl_gendistiller.superb.suite.pool_imports"

Main = Callable[[Sequence[str]], int]


class Processes:
    """Starts runs, from any thread.

    Args:
        main: of run_downstream.py; a function of a module, so that another process can find it.
        threads: of torch in each run.
        lock: open file that each run keeps open, see `locked`.
        devices: one for each run at a time, such as cuda:1; none leave the choice to run_downstream.py.
    """

    def __init__(self, main: Main, threads: int, lock: int, devices: Sequence[str] = ()) -> None:
        self.main = main
        self.threads = threads
        self.lock = lock
        forked = sys.platform == "linux" and not needs_gpu(devices)
        self._context: Any = multiprocessing.get_context("forkserver" if forked else "spawn")
        if forked:
            self._context.set_forkserver_preload([IMPORTED_ONCE])
        self._devices: queue.SimpleQueue[str] | None = queue.SimpleQueue() if devices else None
        for device in devices:
            self._free(device)
        self._running: set[BaseProcess] = set()
        self._guard = threading.Lock()
        self._stopped = False

    def __call__(self, arguments: Sequence[str], log: Path) -> None:
        """
        Args:
            arguments: of run_downstream.py.
            log: gets what it prints, after what is in it; messages and progress bars go beside it, into an .err file,
                since they would stand in the middle of lines.

        Raises:
            UserError: the run failed; it holds the last lines.
        """
        device = self._devices.get() if self._devices is not None else None
        try:
            self._run_on(device, arguments, log)
        finally:
            self._free(device)

    def _run_on(self, device: str | None, arguments: Sequence[str], log: Path) -> None:
        flags, visible = placed(device, os.environ.get(VISIBLE))
        arguments = [*arguments, *flags]
        # threads that spin while they wait slow everything as soon as runs share a core
        environment = {"OMP_WAIT_POLICY": "PASSIVE", **os.environ, "OMP_NUM_THREADS": str(self.threads), **visible}
        messages = log.with_suffix(".err")
        messages.touch()
        with log.open("a", encoding="utf-8") as out:
            shown = "".join(f"{name}={value} " for name, value in visible.items())
            out.write(f"$ {shown}run_downstream.py {' '.join(arguments)}\n")
        with self._guard:
            if self._stopped:
                raise UserError("was not started, because the suite was stopped")
            given = (self.main, list(arguments), str(log), str(messages), environment, _Inherited(self.lock))
            process = self._context.Process(target=_run, args=given)
            with _environment(environment):  # that of the process from which runs are forked, when it starts
                process.start()
            self._running.add(process)
        process.join()
        with self._guard:
            self._running.discard(process)
        if process.exitcode and process.exitcode < 0:
            how = _signal_in_words(-process.exitcode)
            raise UserError(f"ended with status {process.exitcode}, {how} (what it said: {messages})")
        if process.exitcode:
            lines = messages.read_text(encoding="utf-8", errors="replace").strip().splitlines()
            said = [line for line in lines if line.startswith("error:")][-1:] or lines[-LAST_LINES:]
            raise UserError(f"ended with status {process.exitcode}: {' | '.join(said)} (all of it: {messages})")

    def _free(self, device: str | None) -> None:
        if self._devices is not None and device is not None:
            self._devices.put(device)

    def stop(self) -> None:
        """Ends the runs and lets no other start."""
        with self._guard:
            self._stopped = True
            for process in self._running:
                process.terminate()


def _signal_in_words(number: int) -> str:
    name = signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"
    hint = "; most likely there was too little memory, and a smaller --jobs needs less" if name == "SIGKILL" else ""
    return f"killed by {name}{hint}"


class _Inherited:
    """An open file that a process takes along; there it is the file's descriptor."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    def __reduce__(self) -> tuple[Any, ...]:
        return _detached, (DupFd(self.descriptor),)


def _detached(duplicate: Any) -> int:
    return int(duplicate.detach())


def _run(main: Main, arguments: Sequence[str], log: str, messages: str, environment: dict[str, str], lock: int) -> None:
    """In the new process: what is printed goes to files, from C code too."""
    end_with_parent()
    sys.stdout.flush()
    for path, stream in ((log, 1), (messages, 2)):
        opened = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        os.dup2(opened, stream)
        os.close(opened)
    multiprocessing.set_start_method(None, force=True)  # what a process has that nobody's server started: QbE needs it
    os.environ.update(environment)
    torch.set_num_threads(int(environment["OMP_NUM_THREADS"]))
    status = main(arguments)
    sys.exit(status)


@contextlib.contextmanager
def _environment(wanted: dict[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(wanted)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def locked(folder: Path) -> contextlib.AbstractContextManager[int]:
    """Keeps a second suite out of a folder, also while runs of a killed suite still write there.

    Yields:
        The lock's file descriptor, which the runs inherit: it is free when the last of them has ended.

    Raises:
        UserError: another one works there, or nothing can be written there.
    """
    check_writable(folder / LOCK, "--out", folder=False)
    who = (
        "another suite, or a run that a killed one has left, is at work there; wait for it or end it, or give another "
        "--out"
    )
    return host_lock.locked(folder, LOCK, who, inherited=True)


@contextlib.contextmanager
def running(folder: Path, main: Main, jobs: int, devices: Sequence[str] = ()) -> Iterator[Processes]:
    """What starts the runs below a folder that is `locked`; runs that are left at the end are ended.

    Args:
        jobs: how many share the cores.
        main, devices: see `Processes`.
    """
    with locked(folder) as descriptor:
        launch = Processes(main, threads_of(jobs), descriptor, devices)
        try:
            yield launch
        finally:
            launch.stop()


def placed(device: str | None, visible: str | None) -> tuple[list[str], dict[str, str]]:
    """Flags and environment that put a run on a device.

    A run that is to use the second GPU sees no other: s3prl's ASV moves a mask to the first one that it sees, whatever
    ``--device`` says.

    Args:
        device: such as cuda:1; None leaves the choice to run_downstream.py.
        visible: CUDA_VISIBLE_DEVICES as it is, which the number counts within.
    """
    if device is None:
        return [], {}
    kind, _, number = device.partition(":")
    if kind != "cuda" or not number:
        return ["--device", device], {}
    names = visible.split(",") if visible else []
    name = names[int(number)] if int(number) < len(names) else number
    return ["--device", "cuda"], {VISIBLE: name}


def check_devices(devices: Sequence[str]) -> None:
    """
    Raises:
        UserError: one of them is no device of this machine.
    """
    for device in devices:
        check_device(device, "--devices")


def needs_gpu(devices: Sequence[str]) -> bool:
    """Whether runs on these devices, or on the one that is chosen where none is given, use a GPU."""
    return any(device.startswith("cuda") for device in devices) if devices else torch.cuda.is_available()


def jobs_that_fit(asked: int | None, devices: Sequence[str] = ()) -> int:
    """As many as asked for, else one a device, or one a core (one in all on a GPU), as far as the free memory goes."""
    wanted = asked or len(devices) or (1 if torch.cuda.is_available() else os.cpu_count() or 1)
    return max(1, min(wanted, int(available_gib() / GIB_PER_JOB)))


def threads_of(jobs: int) -> int:
    """The cores shared out among the runs."""
    return max(1, (os.cpu_count() or 1) // jobs)

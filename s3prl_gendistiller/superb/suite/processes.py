"""Processes that run run_downstream.py, and how many of them a machine holds.

A short run would spend half of its time on importing torch and s3prl. On Linux one process imports both once, and every
run is forked from that process. Importing s3prl.hub looks for GPUs (`upstream/log_stft`). If CUDA answers, a forked
process can no longer use a GPU; so NVIDIA's management library is asked (`surroundings`), and one forked process
computes on the GPU before any run is forked. Where that fails, each run imports both.
"""

from __future__ import annotations

import contextlib
import multiprocessing.connection
import operator
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
from s3prl_gendistiller.host.memory import available_gib
from s3prl_gendistiller.outputs import check_writable

LOCK = ".superb.lock"
GIB_PER_JOB = 2.5
LAST_LINES = 4
VISIBLE = "CUDA_VISIBLE_DEVICES"
FORK_TRIAL_S = 120.0
IMPORTED_ONCE = "s3prl_gendistiller.superb.suite.process_imports"

Main = Callable[[Sequence[str]], int]


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
        self._context = starting(_compute_on_gpu if needs_gpu(devices) else None, surroundings(threads))
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
        messages = log.with_suffix(".err")
        messages.touch()
        shown = "".join(f"{name}={value} " for name, value in visible.items())
        with log.open("a", encoding="utf-8") as out:
            out.write(f"$ {shown}run_downstream.py {' '.join(arguments)}\n")
        with self._guard:
            if self._stopped:
                raise UserError("was not started, because the suite was stopped")
            given = (self.main, list(arguments), str(log), str(messages), environment, _Inherited(self.lock))
            process = self._context.Process(target=_run, args=given)
            with _environment(environment):  # inherited by the process from which runs are forked, when it starts
                process.start()
            self._running.add(process)
        multiprocessing.connection.wait([process.sentinel])
        with self._guard:  # a start polls all processes; of two polls at once one gets 255 in place of the status
            process.join()
            self._running.discard(process)
        if process.exitcode and process.exitcode < 0:
            how = _signal_in_words(-process.exitcode)
            raise UserError(f"ended with status {process.exitcode}, {how} (its messages: {messages})")
        if process.exitcode:
            lines = messages.read_text(encoding="utf-8", errors="replace").strip().splitlines()
            said = [line for line in lines if line.startswith("error:")][-1:] or lines[-LAST_LINES:]
            raise UserError(f"ended with status {process.exitcode}: {' | '.join(said)} (all messages: {messages})")

    def stop(self) -> None:
        """Ends the runs; no further run starts."""
        with self._guard:
            self._stopped = True
            for process in self._running:
                process.terminate()


def surroundings(threads: int) -> dict[str, str]:
    """The environment of every run, and of the process from which runs are forked, whose libraries read it first."""
    # threads that spin while they wait slow down every run that shares their core; NVML counts GPUs without CUDA
    chosen = {"OMP_WAIT_POLICY": "PASSIVE", "PYTORCH_NVML_BASED_CUDA_CHECK": "1"}
    return {**chosen, **os.environ, "OMP_NUM_THREADS": str(threads)}


def starting(trial: Callable[[], None] | None, environment: dict[str, str]) -> Any:
    """How runs start: the context of multiprocessing that forks them from one process, else that of new processes.

    Args:
        trial: what a forked process must be able to do, with exit status 0; None where there is nothing to try.
        environment: of the process that tries it.
    """
    if sys.platform == "linux":
        forking: Any = multiprocessing.get_context("forkserver")
        forking.set_forkserver_preload([IMPORTED_ONCE])
        if trial is None or _succeeds(forking.Process(target=trial), environment):
            return forking
    return multiprocessing.get_context("spawn")


def _succeeds(process: Any, environment: dict[str, str]) -> bool:
    with _environment(environment):
        process.start()
    process.join(FORK_TRIAL_S)
    if process.exitcode is None:  # CUDA of a forked process can wait for ever
        process.kill()
        process.join()
    return bool(process.exitcode == 0)


def _compute_on_gpu() -> None:
    try:
        torch.ones(1, device="cuda").sum().item()
    except Exception:  # of which kind depends on torch; nothing is shown, because runs then start in another way
        sys.exit(1)


def _signal_in_words(number: int) -> str:
    name = signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"
    hint = "; most likely memory was short; repeat with a smaller --jobs" if name == "SIGKILL" else ""
    return f"killed by {name}{hint}"


class _Inherited:
    """An open file that a new process inherits; unpickled it is the descriptor in that process."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    def __reduce__(self) -> tuple[Any, ...]:
        return operator.methodcaller("detach"), (DupFd(self.descriptor),)


def _run(main: Main, arguments: Sequence[str], log: str, messages: str, environment: dict[str, str], lock: int) -> None:
    """The new process: sends its output, also that of C code, to files, and runs `main`."""
    end_with_parent()
    sys.stdout.flush()
    for path, stream in ((log, 1), (messages, 2)):
        opened = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        os.dup2(opened, stream)
        os.close(opened)
    multiprocessing.set_start_method(None, force=True)  # QbE's own pool of processes needs the default method
    os.environ.update(environment)
    torch.set_num_threads(int(environment["OMP_NUM_THREADS"]))
    sys.exit(main(arguments))


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

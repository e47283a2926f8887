"""One command of run_downstream.py in a process of its own: how the process starts, its output, and its failure.

A short run would spend half of its time on importing torch and s3prl. On Linux one process imports both once, and every
run is forked from that process. Importing s3prl.hub looks for GPUs (`upstream/log_stft`). If CUDA answers, a forked
process can no longer use a GPU; so NVIDIA's management library is asked (`surroundings`), and one forked process
computes on the GPU before any run is forked. Where that fails, each run imports both.

No line here imports torch: a host of a cluster starts a process that imports torch, and imports nothing itself.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import operator
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from multiprocessing.reduction import DupFd
from pathlib import Path
from typing import Any

from s3prl_gendistiller.distill.processes import end_with_parent
from s3prl_gendistiller.errors import UserError

LAST_LINES = 4
FORK_TRIAL_S = 120.0
IMPORTED_ONCE = "s3prl_gendistiller.superb.suite.process_imports"

Main = Callable[[Sequence[str]], int]


def surroundings(threads: int) -> dict[str, str]:
    """The environment of every run, and of the process from which runs are forked, whose libraries read it first."""
    # threads that spin while they wait slow down every run that shares their core; NVML counts GPUs without CUDA
    chosen = {"OMP_WAIT_POLICY": "PASSIVE", "PYTORCH_NVML_BASED_CUDA_CHECK": "1"}
    return {**chosen, **os.environ, "OMP_NUM_THREADS": str(threads)}


def starting(trial: Callable[[], None] | None, environment: dict[str, str], imported: str = IMPORTED_ONCE) -> Any:
    """How runs start: the context of multiprocessing that forks them from one process, else that of new processes.

    Args:
        trial: what a forked process must be able to do, with exit status 0; None where there is nothing to try.
        environment: of the process that tries it.
        imported: module that the process imports from which runs are forked.
    """
    if sys.platform == "linux":
        forking: Any = multiprocessing.get_context("forkserver")
        forking.set_forkserver_preload([imported])
        if trial is None or _succeeds(forking.Process(target=trial), environment):
            return forking
    return multiprocessing.get_context("spawn")


def _succeeds(process: Any, environment: dict[str, str]) -> bool:
    with surrounded_by(environment):
        process.start()
    process.join(FORK_TRIAL_S)
    if process.exitcode is None:  # CUDA of a forked process can wait for ever
        process.kill()
        process.join()
    return bool(process.exitcode == 0)


def compute_on_gpu() -> None:
    """Ends this process with status 1 if it cannot compute on a GPU."""
    import torch

    try:
        torch.ones(1, device="cuda").sum().item()
    except Exception:  # of which kind depends on torch; nothing is shown, because runs then start in another way
        sys.exit(1)


def begin_log(log: Path, arguments: Sequence[str], visible: Mapping[str, str]) -> Path:
    """Writes the command as a line of the file of its output; returns the file of its messages, an .err file beside it.

    The output of a training that goes on (``-a``) is appended, any other command begins its file anew.

    Args:
        visible: variables of the environment that belong to the command.
    """
    messages = log.with_suffix(".err")
    messages.touch()
    shown = "".join(f"{name}={value} " for name, value in visible.items())
    with log.open("a" if "-a" in arguments else "w", encoding="utf-8") as out:
        out.write(f"$ {shown}run_downstream.py {' '.join(arguments)}\n")
    return messages


def failure(status: int, messages: Path, remedy: str) -> UserError:
    """The error of a run that ended with a status other than 0.

    Args:
        status: of the process; below 0 the number of the signal that killed the process.
        messages: file with the messages of the run.
        remedy: what to do if memory was short.
    """
    if status < 0:
        return UserError(f"ended with status {status}, {signal_in_words(-status, remedy)} (its messages: {messages})")
    lines = messages.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    said = [line for line in lines if line.startswith("error:")][-1:] or lines[-LAST_LINES:]
    return UserError(f"ended with status {status}: {' | '.join(said)} (all messages: {messages})")


def signal_in_words(number: int, remedy: str) -> str:
    name = signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"
    hint = f"; most likely memory was short; {remedy}" if name == "SIGKILL" else ""
    return f"killed by {name}{hint}"


class Inherited:
    """An open file that a new process inherits; unpickled it is the descriptor in that process."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    def __reduce__(self) -> tuple[Any, ...]:
        return operator.methodcaller("detach"), (DupFd(self.descriptor),)


def run_main(
    main: Main, arguments: Sequence[str], log: str, messages: str, environment: dict[str, str], lock: int
) -> None:
    """The new process: sends its output, also that of C code, to files, and runs `main`."""
    end_with_parent()
    sys.stdout.flush()
    for path, stream in ((log, 1), (messages, 2)):
        opened = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        os.dup2(opened, stream)
        os.close(opened)
    multiprocessing.set_start_method(None, force=True)  # QbE's own pool of processes needs the default method
    os.environ.update(environment)
    if "torch" in sys.modules:  # which has read another number of threads, if it is there already
        sys.modules["torch"].set_num_threads(int(environment["OMP_NUM_THREADS"]))
    sys.exit(main(arguments))


@contextlib.contextmanager
def surrounded_by(wanted: dict[str, str]) -> Iterator[None]:
    """Replaces the environment of this process as long as the block lasts."""
    before = dict(os.environ)
    os.environ.update(wanted)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)

"""run_downstream.py in a process of its own, and how many of them a machine holds."""

from __future__ import annotations

import contextlib
import fcntl
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from s3prl_gendistiller.errors import UserError

LOCK = ".superb.lock"
GIB_PER_JOB = 2.5
LAST_LINES = 4


class Processes:
    """Starts runs, from any thread.

    Args:
        threads: of torch in each.
        lock: open file that each run keeps open, see `locked`.
    """

    def __init__(self, threads: int, lock: int) -> None:
        self.threads = threads
        self.lock = lock
        self._running: set[subprocess.Popen[bytes]] = set()
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
        command = [sys.executable, "-m", "s3prl_gendistiller.cli.downstream", *arguments]
        environment = {"OMP_WAIT_POLICY": "PASSIVE", **os.environ, "OMP_NUM_THREADS": str(self.threads)}
        messages = log.with_suffix(".err")
        with log.open("a", encoding="utf-8") as out, messages.open("a", encoding="utf-8") as err:
            out.write(f"$ run_downstream.py {' '.join(arguments)}\n")
            out.flush()
            with self._guard:
                if self._stopped:
                    raise UserError("was not started, because the suite was stopped")
                process = subprocess.Popen(command, env=environment, stdout=out, stderr=err, pass_fds=(self.lock,))
                self._running.add(process)
            status = process.wait()
        with self._guard:
            self._running.discard(process)
        if status:
            lines = messages.read_text(encoding="utf-8", errors="replace").strip().splitlines()
            said = [line for line in lines if line.startswith("error:")][-1:] or lines[-LAST_LINES:]
            raise UserError(f"ended with status {status}: {' | '.join(said)} (all of it: {messages})")

    def stop(self) -> None:
        """Ends the runs and lets no other start."""
        with self._guard:
            self._stopped = True
            for process in self._running:
                process.terminate()


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[int]:
    """Keeps a second suite out of a folder, also while runs of a killed suite still write there.

    Yields:
        The lock's file descriptor, which the runs inherit: it is free when the last of them has ended.

    Raises:
        UserError: another one works there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise UserError(
                f"{folder}: another suite, or a run that a killed one has left, is at work there; "
                "wait for it or end it, or give another --out"
            ) from error
        yield file.fileno()


def jobs_that_fit(asked: int | None) -> int:
    """As many as asked for, else one a core (one in all on a GPU), as far as the free memory goes."""
    wanted = asked or (1 if torch.cuda.is_available() else os.cpu_count() or 1)
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    with contextlib.suppress(OSError), open("/proc/meminfo", encoding="ascii") as file:
        free = next(int(line.split()[1]) / 2**20 for line in file if line.startswith("MemAvailable"))
    return max(1, min(wanted, int(free / GIB_PER_JOB)))


def threads_of(jobs: int) -> int:
    """The cores shared out among the runs."""
    return max(1, (os.cpu_count() or 1) // jobs)

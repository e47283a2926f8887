"""Controllers of a suite over a stand-in for run_downstream.py, forked from one process that imports all once."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch

from s3prl_gendistiller.cli import main, superb_cluster
from s3prl_gendistiller.superb.cluster.engine import ClusterEngine
from s3prl_gendistiller.superb.cluster.host_run import Order
from s3prl_gendistiller.superb.cluster.slurm import Queue, Slurm
from s3prl_gendistiller.superb.cost import multiply_adds
from s3prl_gendistiller.superb.cost.multiply_adds import Cost
from s3prl_gendistiller.superb.suite import process_imports  # noqa: F401  the check of upstreams imports s3prl
from tests.superb.cluster import downstream

MODELS, TASKS = ("fbank", "mel"), ("ks", "ic")
COMMANDS = 2 * len(MODELS) * len(TASKS)
PAUSE_S = 0.2
LOCAL = "local"


class Processes(Queue):
    """The jobs of submitit's local executor, by the numbers of their processes."""

    def gone(self, job: str, since: float) -> str | None:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(int(job), os.WNOHANG)
        try:
            state = Path(f"/proc/{job}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return "no such process"
        return "it is a zombie" if state == "Z" else None


class Controllers:
    """Starts controllers, and knows what they and their jobs have done.

    Args:
        kind: submitit's executor, `LOCAL` or slurm.
        folder: for the suite, the corpora and what stands for checkpoints.
    """

    def __init__(self, kind: str, folder: Path) -> None:
        self.kind, self.out, self.output = kind, folder / "suite", folder / "output"
        made = folder / "made"
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("speech_commands_v0.01", "speech_commands_test_set_v0.01", "fluent_speech_commands_dataset"):
            (folder / "data" / name).mkdir(parents=True)
        made.mkdir()
        for step in range(1, downstream.STEPS + 1):
            torch.save({"Step": step}, made / f"states-{step}.ckpt")
        given = {downstream.MADE: str(made), downstream.PAUSE: str(PAUSE_S), "SUPERB_DATA": str(folder / "data")}
        os.environ.update(given)
        self.process = self._read = 0
        self.arguments = ["superb", "--student", *MODELS, "--tasks", *TASKS, "--out", str(self.out)]
        self.arguments += ["--cluster", "slurm", "--max-jobs", "2", "--memory-per-run", "1G"]
        self._replace()
        with contextlib.redirect_stdout(io.StringIO()):
            main([*self.arguments, "--dry-run"])  # its imports are those of every controller

    def _replace(self) -> None:
        """Puts stand-ins in place of the run and of what loads models, and shortens all waiting."""
        places = ("tests.superb.cluster.downstream:main", "tests.superb.cluster.downstream")

        def order(args: object) -> Order:
            return Order("", places[0], (), "", 1, os.getcwd(), imported=places[1])

        queue = Processes() if self.kind == LOCAL else Queue(every_s=0.5)
        superb_cluster.order_of_a_run = order
        superb_cluster.Slurm = partial(Slurm, kind=self.kind, queue=queue)  # type: ignore[misc]
        superb_cluster.ClusterEngine = partial(ClusterEngine, poll_s=0.1, late_s=0.5)  # type: ignore[misc]
        multiply_adds.size = lambda model: (100, 1.5)
        multiply_adds.measure = lambda models: {one.name: Cost(100, 1.5, 0.1) for one in models}

    def start(self, *more: str) -> None:
        """A new controller, of which the other methods speak from now on."""
        self.process = os.fork()
        if self.process:
            return
        opened = os.open(self.output, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        os.dup2(opened, 1)
        os.dup2(opened, 2)
        os._exit(main([*self.arguments, *more]))

    def wait(self) -> int:
        """The exit status of the controller, below 0 the number of a signal."""
        return os.waitstatus_to_exitcode(os.waitpid(self.process, 0)[1])

    def end(self, how: signal.Signals) -> int:
        """Sends a signal to the controller and waits for its end."""
        os.kill(self.process, how)
        return self.wait()

    def has_ended(self) -> bool:
        return os.waitid(os.P_PID, self.process, os.WEXITED | os.WNOWAIT | os.WNOHANG) is not None

    def said(self) -> str:
        """What all controllers have printed since the last call."""
        text = self.output.read_text(errors="replace")
        new, self._read = text[self._read :], len(text)
        return new

    def counts(self) -> list[str]:
        path = self.out / downstream.COUNTS
        return path.read_text().splitlines() if path.exists() else []

    def tickets(self) -> dict[Path, str]:
        """The jobs of commands that go on, by their logs."""
        found = {}
        for path in self.out.glob("runs/*/*/*.job.json"):
            with contextlib.suppress(OSError, ValueError):
                content = json.loads(path.read_text())
                ended = path.with_name(path.name.replace(".job.", ".ended."))
                if content["job"] and not (ended.exists() and content["order"] in ended.read_text()):
                    found[path.with_name(path.name.replace(".job.json", ".log"))] = content["job"]
        return found

    def in_training(self) -> dict[str, str]:
        """Jobs in the middle of a training, which have more than one step to go, and what they saved last."""
        counts = self.counts()
        found = {}
        for log, job in self.tickets().items():
            name = f"{log.parent.parent.name} {log.parent.name} "
            saved = sum(line.startswith(f"{name}saved") for line in counts)
            if log.stem == "superb_train" and 0 < saved < downstream.STEPS - 1:
                found[job] = f"{name}{saved}"
        return found

    def kill_job(self, job: str) -> None:
        """Kills all processes of a job at once."""
        if self.kind != LOCAL:
            os.system(f"scancel --signal=KILL {job}; scancel --signal=KILL --full {job}")
            return
        for process in [*descendants(int(job)), int(job)]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)


def descendants(process: int) -> list[int]:
    """The numbers of the processes below a process."""
    try:
        below = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    except OSError:
        return []
    return [number for child in map(int, below) for number in (*descendants(child), child)]


def wait_until(true: Callable[[], bool], seconds: float = 120.0) -> None:
    until = time.monotonic() + seconds
    while not true():
        if time.monotonic() > until:
            raise TimeoutError
        time.sleep(0.02)

"""The paper-scale command on made speech: killed in the middle, resumed, and started by torchrun with one process.

    python -m kit.training --work DIR --out training.json --device cuda

DIR is what `kit.prepare` writes; the command waits for it. The results are written again and again, since the command
itself may be stopped. The status is 1 if a loss is not finite or a stage has failed.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kit import PREPARE_LOG, READY, ROOT
from kit.machine import MemoryWatch

POLL = 0.1  # seconds
TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "1", "--local_addr", "127.0.0.1"]
WAIT = 120.0  # seconds for the speech and the teacher


@dataclass
class Stages:
    """The stages, each a process of run_pretrain.py in one folder of runs."""

    work: Path
    out: Path
    device: str
    steps: int
    log_step: int
    found: dict[str, dict[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        options = {"runner.total_steps": self.steps, "runner.log_step": self.log_step}
        options |= {"runner.save_step": self.steps // 4, "pretrain_expert.datarc.valid_step": self.steps}
        self.options = ",,".join(f"config.{name}={value}" for name, value in options.items())

    def new(self, name: str, launcher: Sequence[str] = ()) -> list[str]:
        files = ["-g", str(self.work / "model.yaml"), "-c", str(self.work / "runner.yaml"), "-o", self.options]
        return [*launcher, *self.script(), "-p", str(self.work / name), "-u", "gendistiller", *files]

    def resumed(self, name: str) -> list[str]:
        return [*self.script(), "-e", str(self.work / name)]

    def script(self) -> list[str]:
        return [str(ROOT / "run_pretrain.py"), "--device", self.device]

    def entries(self, name: str, split: str = "train") -> list[dict[str, float]]:
        """What a run has logged, in order."""
        path = self.work / name / "metrics.jsonl"
        found = []
        for line in path.read_text().splitlines() if path.is_file() else ():
            try:
                found.append(json.loads(line))
            except ValueError:
                continue  # the last line of a run that is killed while it writes
        return [entry for entry in found if entry["split"] == split]

    def last_step(self, name: str) -> int:
        return max((int(entry["step"]) for entry in self.entries(name)), default=0)

    def losses(self, name: str, split: str = "train") -> dict[int, float]:
        """Loss of each logged step; of a step that was logged twice, the last one."""
        return {int(entry["step"]): entry.get("loss", math.nan) for entry in self.entries(name, split)}

    def stage(
        self, title: str, name: str, command: Sequence[str], after: int, until: Callable[[], bool], end: int
    ) -> dict[str, Any]:
        """Runs a command until it ends, or until `until` holds, when it gets the signal `end`.

        Args:
            after: the step of the checkpoint with which the command goes on; 0 for a new run.

        Returns:
            The figures of the steps that this process has taken.
        """
        before, began = len(self.entries(name)), time.monotonic()
        row = self.found[title] = {"status": "running"}
        with MemoryWatch() as memory:
            process = subprocess.Popen([sys.executable, *command], cwd=self.work, start_new_session=True)
            try:
                while process.poll() is None and not until():
                    time.sleep(POLL)
                    self.note(row, self.entries(name)[before:], after, began)
                ended_itself = process.poll() is not None
                if not ended_itself:
                    os.killpg(process.pid, end)
                status = process.wait(30)
            except subprocess.TimeoutExpired:
                status, ended_itself = -1, True
            finally:
                kill(process)
        self.note(row, self.entries(name)[before:], after, began)
        row["peak MiB of the GPU"] = memory.highest
        row["seconds in all"] = time.monotonic() - began
        row["status"] = f"status {status}" if ended_itself else f"ended by {signal.Signals(end).name}"
        self.write()
        return row

    def note(self, row: dict[str, Any], logged: list[dict[str, float]], after: int, began: float) -> None:
        """Puts what a process has logged since step `after` into its row."""
        if len(logged) == row.get("entries", 0):
            return
        if "seconds to the first step" not in row:
            taken = (logged[0]["step"] - after) * logged[0]["seconds_per_batch"]
            row["seconds to the first step"] = time.monotonic() - began - taken
        steady = [entry["seconds_per_batch"] for entry in logged[1:] or logged]
        losses = [entry.get("loss", math.nan) for entry in logged]
        row |= {"entries": len(logged), "first step": after + 1, "last step": int(logged[-1]["step"])}
        row |= {"steps per second": 1 / statistics.median(steady), "first loss": losses[0], "last loss": losses[-1]}
        row["all losses finite"] = all(map(math.isfinite, losses))
        self.write()

    def write(self) -> None:
        self.out.write_text(json.dumps(self.found, indent=1) + "\n")


def kill(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):  # all have ended
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def await_prepared(work: Path) -> None:
    """Waits for the files of `kit.prepare`; SystemExit with its log if they do not come."""
    deadline = time.monotonic() + WAIT
    while not (work / READY).is_file():
        if time.monotonic() > deadline:
            log = work / PREPARE_LOG
            raise SystemExit(f"no speech and teacher in {work}:\n{log.read_text() if log.is_file() else ''}")
        time.sleep(POLL)


def train(stages: Stages, ranks_steps: int) -> list[str]:
    """All stages; the problems that were found."""
    problems = []
    half = stages.steps // 2

    def past_half() -> bool:
        return (stages.work / "run" / f"states-{half}.ckpt").is_file() and stages.last_step("run") > half

    stages.stage("first half", "run", stages.new("run"), 0, past_half, signal.SIGKILL)
    stages.stage("resumed", "run", stages.resumed("run"), half, lambda: False, signal.SIGKILL)
    if not (stages.work / "run" / f"states-{stages.steps}.ckpt").is_file():
        problems.append(f"the resumed run did not reach step {stages.steps}")
    held_out = stages.losses("run", "valid")
    stages.found["resumed"]["held-out loss"] = held_out[max(held_out)] if held_out else math.nan

    def enough() -> bool:
        return stages.last_step("ranks") >= ranks_steps

    row = stages.stage("torchrun", "ranks", stages.new("ranks", TORCHRUN), 0, enough, signal.SIGTERM)
    alone, ranks = stages.losses("run"), stages.losses("ranks")
    apart = [abs(loss / alone[step] - 1) for step, loss in ranks.items() if step in alone]
    row["largest relative difference of losses to the run without"] = max(apart, default=math.nan)
    if not enough():
        problems.append(f"the run of torchrun did not reach step {ranks_steps}")
    for title, found in stages.found.items():
        if not found.get("all losses finite"):
            problems.append(f"{title}: no step, or a loss that is not finite")
    stages.write()
    return problems


def run(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--small", action="store_true")
    args = parser.parse_args(argv)
    await_prepared(args.work)
    stages = Stages(args.work, args.out, args.device, *((20, 1) if args.small else (200, 10)))
    try:
        problems = train(stages, 6 if args.small else 60)
    finally:
        stages.write()
    print("\n".join(problems) or "all stages passed", flush=True)
    return 1 if problems else 0


def _end(number: int, frame: Any) -> None:
    raise SystemExit(128 + number)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _end)  # the processes of a stage are in a session of their own
    sys.exit(run(sys.argv[1:]))

"""run_pretrain.py under the real torchrun: one, two and three ranks, a killed rank, another number of ranks."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from s3prl_gendistiller.host.checkpoint import newest_checkpoint, read_checkpoint, stored_step
from tests.bench import Bench
from tests.conftest import ROOT

STEPS = 20
STILL = {"dropout": 0.0, "attention_dropout": 0.0, "activation_dropout": 0.0}
# ten utterances in batches of 4, 4 and 2; two batches make a step
LOOP = {"total_steps": STEPS, "log_step": 5, "save_step": 5, "max_keep": 9, "gradient_accumulate_steps": 2}
CLOSE = 1e-5
WITHIN = 60.0  # seconds from the death of a rank to the end of the run


class Ranks:
    """Starts runs in one folder; each has a name."""

    def __init__(self, bench: Bench, folder: Path) -> None:
        self.folder = folder
        self.files = ["-g", bench.model(folder, student=STILL)]
        data = {"train_batch_size": 4, "valid_step": 10}
        self.files += ["-c", bench.runner(folder, datarc=data, **LOOP)]
        self.environment = {**os.environ, **bench.environment, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}

    def command(self, ranks: int, *flags: str | Path, restarts: int = 0) -> list[str]:
        torchrun = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={ranks}"]
        start = [] if ranks == 1 else [*torchrun, f"--max_restarts={restarts}"]
        return [str(word) for word in (sys.executable, *start, ROOT / "run_pretrain.py", *flags)]

    def new(self, ranks: int, name: str, restarts: int = 0) -> list[str]:
        return self.command(ranks, "-u", "gendistiller", "-n", name, *self.files, restarts=restarts)

    def start(self, command: list[str]) -> subprocess.Popen[str]:
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen(command, cwd=self.folder, env=self.environment, text=True, **pipes)

    def run(self, command: list[str]) -> tuple[str, str]:
        process = self.start(command)
        out, error = process.communicate(timeout=300)
        assert process.returncode == 0, out[-2000:] + error[-4000:]
        return out, error

    def path(self, name: str) -> Path:
        return self.folder / "result/pretrain" / name

    def weights(self, name: str) -> dict[str, torch.Tensor]:
        newest = newest_checkpoint(self.path(name))
        assert newest is not None and stored_step(newest) == STEPS
        return read_checkpoint(newest)["GenDistiller"]

    def losses(self, name: str) -> dict[tuple[str, int], float]:
        lines = map(json.loads, (self.path(name) / "metrics.jsonl").read_text().splitlines())
        return {(line["split"], line["step"]): line["loss"] for line in lines}

    def kill_a_rank(self, process: subprocess.Popen[str], name: str, step: int) -> float:
        """Kills rank 1 once the checkpoint of a step is written; returns the time."""
        deadline = time.monotonic() + 180
        while not (self.path(name) / f"states-{step}.ckpt").is_file():
            assert process.poll() is None and time.monotonic() < deadline, "the run ended before it could be killed"
            time.sleep(0.002)
        (rank,) = (pid for pid in children(process.pid) if b"RANK=1" in environment(pid))
        os.kill(rank, signal.SIGKILL)
        return time.monotonic()


def children(parent: int) -> list[int]:
    return [int(pid) for pid in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]


def environment(pid: int) -> list[bytes]:
    return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")


def difference(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> float:
    """The norm of the difference of all weights, relative to the norm of the weights."""
    assert one.keys() == other.keys()
    apart = sum(float((value - other[name]).double().square().sum()) for name, value in one.items())
    return (apart / sum(float(value.double().square().sum()) for value in one.values())) ** 0.5


@pytest.fixture(scope="module")
def runs(bench: Bench, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ranks]:
    """Runs of one, two and three processes from the same start."""
    made = Ranks(bench, tmp_path_factory.mktemp("ranks"))
    for ranks, name in ((1, "one"), (2, "two"), (3, "three")):
        out, error = made.run(made.new(ranks, name))
        assert error.count("the student is in") == 1 and out.count("Start a new experiment") == 1
    yield made


def test_several_ranks_train_the_student_of_one_process(runs: Ranks) -> None:
    one, losses = runs.weights("one"), runs.losses("one")
    assert {step for split, step in losses if split == "valid"} == {10, 20}
    for name in ("two", "three"):
        assert runs.losses(name) == pytest.approx(losses, rel=CLOSE)
        assert difference(one, runs.weights(name)) < CLOSE


def test_rank_0_alone_writes_files(runs: Ranks) -> None:
    def written(name: str) -> list[str]:
        return sorted(path.name.split(".tfevents")[0] for path in runs.path(name).iterdir())

    assert written("two") == written("three") == written("one")
    assert len((runs.path("three") / "metrics.jsonl").read_text().splitlines()) == 6
    assert len(json.loads((runs.path("three") / "run.json").read_text())) == 1


def test_a_killed_rank_is_replaced_and_the_run_ends_as_if_unbroken(runs: Ranks) -> None:
    process = runs.start(runs.new(2, "restarted", restarts=1))
    runs.kill_a_rank(process, "restarted", 10)
    _, error = process.communicate(timeout=300)
    assert process.returncode == 0, error[-4000:]
    assert error.count("another rank has ended") == 1 and "torchrun starts all ranks again (1 of 1 restarts)" in error
    assert "-e result/pretrain/restarted/states-1" in error or "/restarted/states-1" in error
    unbroken = runs.weights("two")
    assert all(torch.equal(value, unbroken[name]) for name, value in runs.weights("restarted").items())


def test_a_killed_rank_ends_the_run_which_goes_on_with_another_number_of_ranks(runs: Ranks) -> None:
    process = runs.start(runs.new(2, "broken"))
    killed = runs.kill_a_rank(process, "broken", 5)
    _, error = process.communicate(timeout=300)
    assert time.monotonic() - killed < WITHIN and process.returncode != 0
    assert error.count("another rank has ended") == 1
    assert "-e result/pretrain/broken goes on" in error
    runs.run(runs.command(1, "-e", runs.path("broken")))
    assert difference(runs.weights("one"), runs.weights("broken")) < CLOSE
    assert runs.losses("broken") == pytest.approx(runs.losses("one"), rel=CLOSE)

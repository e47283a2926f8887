"""Jobs of SLURM without a SLURM: what is asked of squeue and sbatch, and what is made of the answers."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.superb.cluster import slurm
from s3prl_gendistiller.superb.cluster.slurm import Queue, Resources, Slurm


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder whose programs stand for those of SLURM; it comes first on PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return folder


def program(path: Path, answer: str, status: int = 0, problem: str = "") -> None:
    """A program that notes its arguments, and answers."""
    lines = [f'echo "$@" >> {path}.asked', f"cat <<'END'\n{answer}\nEND"]
    path.write_text("\n".join(["#!/bin/sh", *lines, f"echo '{problem}' >&2", f"exit {status}"]) + "\n")
    path.chmod(0o755)


def asked(path: Path) -> list[str]:
    return path.with_name(f"{path.name}.asked").read_text().splitlines()


def test_one_squeue_answers_for_all_jobs(commands: Path) -> None:
    program(commands / "squeue", "1|RUNNING|node1\n2|PENDING|\n3|OUT_OF_MEMORY|node2\n4|COMPLETED|node2\n5|REQUEUED|")
    queue, since = Queue(every_s=60), time.monotonic()
    found = {job: queue.gone(job, since) for job in "123456"}
    ended = {"3": "OUT_OF_MEMORY on node2", "4": "COMPLETED on node2", "6": "squeue no longer lists it"}
    assert found == {**dict.fromkeys("125"), **ended}
    (line,) = asked(commands / "squeue")
    assert "--states=all" in line and "--user=" in line


def test_an_answer_from_before_the_submission_says_nothing_about_a_job(commands: Path) -> None:
    program(commands / "squeue", "")
    queue = Queue(every_s=60)
    assert queue.gone("1", time.monotonic()) == "squeue no longer lists it"
    assert queue.gone("2", time.monotonic()) is None and len(asked(commands / "squeue")) == 1


def test_a_squeue_that_does_not_answer_ends_no_job(commands: Path, caplog: pytest.LogCaptureFixture) -> None:
    program(commands / "squeue", "", 1, "slurm_load_jobs error: Unable to contact slurm controller")
    assert Queue(every_s=60).gone("1", time.monotonic()) is None
    assert "squeue does not answer (slurm_load_jobs error: Unable to contact slurm controller)" in caplog.text


def test_what_a_job_gets_is_asked_before_anything_runs(commands: Path, tmp_path: Path) -> None:
    resources = Resources(4, 1, 16.0, 1.5, "gpu", {"account": "lab", "exclusive": ""})
    cluster = Slurm(tmp_path, resources)
    program(commands / "sbatch", "")
    cluster.require()
    options = "--cpus-per-task=4 --mem=16384M --gpus-per-node=1 --partition=gpu --time=90 --account=lab --exclusive"
    assert asked(commands / "sbatch") == [f"--test-only {options} --wrap=true"]
    assert cluster.describe().endswith(f"sbatch {options}")
    program(commands / "sbatch", "", 1, "sbatch: error: invalid partition specified: gpu")
    with pytest.raises(UserError, match=f"sbatch refuses a job with {options}: invalid partition specified: gpu"):
        cluster.require()


def test_a_machine_without_sbatch_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match="found no sbatch on PATH, expected a machine from which"):
        Slurm(tmp_path, Resources(1, 0, 4.0)).require()


@pytest.mark.parametrize(
    ("answer", "minutes"),
    [("gpu*|8:00:00|3-00:00:00", 480), ("cpu|1|2\ngpu*|n/a|3-12:30:00", 5070), ("gpu*|n/a|infinite", 0), ("", 0)],
)
def test_without_a_time_limit_that_of_the_partition_holds(commands: Path, answer: str, minutes: int) -> None:
    program(commands / "sinfo", answer)
    assert slurm._limit_minutes(None) == minutes


def test_a_job_that_left_no_messages_ran_on_a_host_that_may_not_see_the_folder(tmp_path: Path) -> None:
    cluster = Slurm(tmp_path, Resources(1, 0, 4.0))
    assert "its host may not see this folder; give an --out that all hosts share" in cluster.advice("7")
    cluster.folder.mkdir()
    (cluster.folder / "7_0_log.err").touch()
    assert "7_0_log.err; give more with --memory-per-run or --hours-per-run" in cluster.advice("7")
    assert cluster.cancelling(["7", "8"]) == "scancel 7 8"

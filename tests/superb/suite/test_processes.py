"""Runs as processes: their output, and how they are ended."""

from __future__ import annotations

import multiprocessing.connection
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from multiprocessing import forkserver
from pathlib import Path

import pytest

from s3prl_gendistiller.cli import downstream
from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.host.devices import check_device
from s3prl_gendistiller.superb.suite import processes, run_process
from s3prl_gendistiller.superb.suite.processes import (
    Processes,
    jobs_that_fit,
    locked,
    placed,
    threads_of,
)
from s3prl_gendistiller.superb.suite.run_process import starting, surroundings

VISIBLE = "CUDA_VISIBLE_DEVICES"


def say_what_is_seen(arguments: Sequence[str]) -> int:
    """Stands for run_downstream.py in the new process."""
    print(*arguments, os.environ.get(VISIBLE), flush=True)
    return 0


def test_a_failed_run_says_what_the_launcher_said(tmp_path: Path) -> None:
    log = tmp_path / "superb_train.log"
    with locked(tmp_path) as lock, pytest.raises(UserError, match=r"status 2: error: -u: missing.*superb_train\.err"):
        Processes(downstream.main, 1, lock)(["-m", "train"], log)
    assert log.read_text() == "$ run_downstream.py -m train\n"


def be_killed(arguments: Sequence[str]) -> int:
    """As the kernel does where memory is short."""
    print("half a line of progress", file=sys.stderr, end="", flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
    return 0


def test_a_killed_run_is_named_with_its_log(tmp_path: Path) -> None:
    log = tmp_path / "superb_train.log"
    wanted = (
        r"status -9, killed by SIGKILL; most likely memory was short; repeat with a smaller --jobs "
        r"\(its messages: .*superb_train\.err\)"
    )
    with locked(tmp_path) as lock, pytest.raises(UserError, match=wanted):
        Processes(be_killed, 1, lock)(["-m", "train"], log)
    assert log.with_suffix(".err").read_text() == "half a line of progress"


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file" / "suite", Path("/proc/suite")):
        with pytest.raises(UserError, match="--out"):
            locked(folder).__enter__()


def test_a_stopped_suite_ends_what_runs_and_starts_nothing(tmp_path: Path) -> None:
    with locked(tmp_path) as lock:
        launch = Processes(downstream.main, 1, lock)
        failures: list[str] = []

        def run() -> None:
            try:
                launch(["-m", "train", "--help"], tmp_path / "a.log")
            except UserError as error:
                failures.append(str(error))

        thread = threading.Thread(target=run)
        thread.start()
        while not launch._running:
            time.sleep(0.01)
        launch.stop()
        thread.join(timeout=30)
        assert not thread.is_alive() and "status -15" in failures[0]
        with pytest.raises(UserError, match="was not started"):
            launch([], tmp_path / "b.log")


def wait_for_a_file(arguments: Sequence[str]) -> int:
    while not Path(arguments[0]).exists():
        time.sleep(0.01)
    return 0


def test_a_start_beside_a_run_that_ends_does_not_take_its_status(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """multiprocessing polls all processes at each start; a second reader of a status gets 255 in its place."""
    read = forkserver.read_signed

    def read_late(descriptor: int) -> int:
        time.sleep(0.3)
        return int(read(descriptor))

    failures: list[str] = []

    def run() -> None:
        try:
            launch([str(tmp_path / "end")], tmp_path / "a.log")
        except UserError as error:
            failures.append(str(error))

    with locked(tmp_path) as lock:
        launch = Processes(wait_for_a_file, 1, lock, devices=["cpu"])
        thread = threading.Thread(target=run)
        thread.start()
        while not launch._running:
            time.sleep(0.01)
        (process,) = launch._running
        monkeypatch.setattr(forkserver, "read_signed", read_late)
        with launch._guard:  # as a start has it
            (tmp_path / "end").touch()
            multiprocessing.connection.wait([process.sentinel])
            time.sleep(0.1)
            multiprocessing.process._cleanup()
        thread.join(timeout=30)
    assert not thread.is_alive() and failures == []


def test_a_second_suite_in_the_same_folder_waits_its_turn(tmp_path: Path) -> None:
    with locked(tmp_path), pytest.raises(UserError, match="another suite, or a run of a killed suite"):
        locked(tmp_path).__enter__()
    with locked(tmp_path):
        pass


def test_jobs_share_the_cores_and_stay_within_the_memory() -> None:
    assert jobs_that_fit(1) == 1 and jobs_that_fit(None) >= 1
    assert jobs_that_fit(10_000) < 10_000
    assert threads_of(10_000) == 1


def test_a_run_sees_the_gpu_that_it_is_given_and_no_other() -> None:
    assert placed(None, None) == ([], {})
    assert placed("cpu", "0,1") == (["--device", "cpu"], {})
    assert placed("cuda", None) == (["--device", "cuda"], {})
    assert placed("cuda:1", None) == (["--device", "cuda"], {VISIBLE: "1"})
    assert placed("cuda:1", "4,7") == (["--device", "cuda"], {VISIBLE: "7"})  # the number counts within what is seen


def test_each_device_has_one_run_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No GPU is needed: nothing is computed, and the parent only hands out numbers."""
    monkeypatch.delenv(VISIBLE, raising=False)
    with locked(tmp_path) as lock:
        launch = Processes(say_what_is_seen, 1, lock, devices=["cuda:0", "cuda:1"])
        assert launch._context.get_start_method() == "spawn"  # no forked process computes on a GPU here
        logs = [tmp_path / f"{name}.log" for name in "abc"]
        threads = [threading.Thread(target=launch, args=(["-m", "train"], log)) for log in logs]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=60)
    seen = [log.read_text().splitlines()[-1] for log in logs]
    assert all(line.startswith("-m train --device cuda ") for line in seen)
    assert {line[-1] for line in seen} == {"0", "1"}
    assert all(log.read_text().startswith(f"$ {VISIBLE}=") for log in logs)


def succeed() -> None:
    assert os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] == "1" and os.environ["OMP_WAIT_POLICY"] == "PASSIVE"


def fail() -> None:
    sys.exit(1)


def wait_for_ever() -> None:
    time.sleep(600.0)


def test_runs_are_forked_where_a_forked_process_can_do_what_they_need(monkeypatch: pytest.MonkeyPatch) -> None:
    forked = "forkserver" if sys.platform == "linux" else "spawn"
    environment = surroundings(1)
    assert starting(None, environment).get_start_method() == forked
    assert starting(succeed, environment).get_start_method() == forked
    assert starting(fail, environment).get_start_method() == "spawn"
    monkeypatch.setattr(run_process, "FORK_TRIAL_S", 0.2)
    assert starting(wait_for_ever, environment).get_start_method() == "spawn"


def test_a_device_is_free_again_when_its_run_failed(tmp_path: Path) -> None:
    with locked(tmp_path) as lock:
        launch = Processes(downstream.main, 1, lock, devices=["cpu"])
        for _ in range(2):
            with pytest.raises(UserError, match="-u: missing"):
                launch(["-m", "train"], tmp_path / "superb_train.log")


def test_a_device_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes.torch.cuda, "device_count", lambda: 2)
    for device in ("cuda:0", "cuda:1", "cpu", "cuda"):
        check_device(device, "--devices")
    for wrong in ("cuda:2", "gpu", "cuda:x"):
        with pytest.raises(UserError, match=f"found {wrong}, expected cuda:0, cuda:1"):
            check_device(wrong, "--devices")
    monkeypatch.setattr(processes.torch.cuda, "device_count", lambda: 0)
    with pytest.raises(UserError, match="expected cpu, since this machine has no GPU"):
        check_device("cuda:0", "--devices")


def test_there_is_a_job_for_each_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "available_gib", lambda: 1000.0)
    assert jobs_that_fit(None, ["cuda:0", "cuda:1", "cuda:2"]) == 3
    assert jobs_that_fit(1, ["cuda:0", "cuda:1"]) == 1

"""Runs as processes: their output, and how they are ended."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from s3prl_gendistiller.cli import downstream
from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.superb.launcher import Processes, jobs_that_fit, locked, threads_of


def test_a_failed_run_says_what_the_launcher_said(tmp_path: Path) -> None:
    log = tmp_path / "superb_train.log"
    with locked(tmp_path) as lock, pytest.raises(UserError, match=r"status 2: error: -u: missing.*superb_train\.err"):
        Processes(downstream.main, 1, lock)(["-m", "train"], log)
    assert log.read_text() == "$ run_downstream.py -m train\n"


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


def test_a_second_suite_in_the_same_folder_waits_its_turn(tmp_path: Path) -> None:
    with locked(tmp_path), pytest.raises(UserError, match="another suite, or a run that a killed one has left"):
        locked(tmp_path).__enter__()
    with locked(tmp_path):
        pass


def test_jobs_share_the_cores_and_stay_within_the_memory() -> None:
    assert jobs_that_fit(1) == 1 and jobs_that_fit(None) >= 1
    assert jobs_that_fit(10_000) < 10_000
    assert threads_of(10_000) == 1

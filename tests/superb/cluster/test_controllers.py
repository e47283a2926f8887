"""Suites whose jobs and controllers are killed and stopped, through the command and submitit's local executor."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT, run_python
from tests.superb.cluster.downstream import STEPS

RUNS = [f"{model} {task}" for model in ("fbank", "mel") for task in ("ks", "ic")]
ONCE = {f"{run} {what}" for run in RUNS for what in (*(f"saved {n + 1}" for n in range(STEPS)), "trained", "tested")}


def played(kind: str, folder: Path, *names: str, environment: dict[str, str] | None = None) -> dict[str, Any]:
    """What came of scenarios, by name."""
    paths = {"PYTHONPATH": f"{ROOT}:{ROOT / 'benchmarks'}"}
    command = ("-m", "tests.superb.cluster.scenarios", kind, folder, *names)
    answer = run_python(*command, cwd=folder, env={**(environment or {}), **paths}, timeout=550)
    assert answer.returncode == 0, answer.stderr[-3000:]
    found: dict[str, Any] = json.loads(answer.stdout)
    return found


def nothing_was_lost_or_repeated(found: dict[str, Any]) -> None:
    """Every checkpoint was saved once, and every training and test ended once; the jobs have left no files.

    The one host has compared itself with the suite's probe.
    """
    assert found["status"] == [0, 0] and found["unchanged"] and found["left"] == []
    assert found["answers"] == 1
    assert Counter(found["counts"]) == Counter(ONCE)


def was_stopped_and_went_on(found: dict[str, Any]) -> None:
    assert found["second"]["status"] == 2 and found["second"]["said"].count("error:") == 1
    assert "another suite, or a run of a killed suite, still writes into this folder" in found["second"]["said"]
    said = found["stop"]["said"]
    assert found["stop"]["status"] == 130 and "the same command continues the suite; jobs go on" in said
    assert f"scancel {' '.join(found['jobs'])} cancels them" in said and len(found["jobs"]) == 2
    nothing_was_lost_or_repeated(found)


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return played("local", tmp_path_factory.mktemp("local"), "kills", "stopped", "noticed")


def test_twenty_kills_of_jobs_and_controllers_lose_nothing_and_repeat_nothing(local: dict[str, Any]) -> None:
    assert local["kills"]["killed"] == {"job": 10, "controller": 10}
    nothing_was_lost_or_repeated(local["kills"])


def test_jobs_of_a_stopped_suite_go_on_and_the_same_command_waits_for_them(local: dict[str, Any]) -> None:
    was_stopped_and_went_on(local["stopped"])


def test_a_job_whose_host_is_taken_back_is_queued_again_and_goes_on_from_its_checkpoint(local: dict[str, Any]) -> None:
    assert local["noticed"]["same"] and "is repeated" not in local["noticed"]["said"]
    nothing_was_lost_or_repeated(local["noticed"])

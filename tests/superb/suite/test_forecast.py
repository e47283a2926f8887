"""What a plan costs, in words, and whether the disk has room for it."""

from __future__ import annotations

import argparse
from dataclasses import replace

import pytest

from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.host import feature_store
from s3prl_gendistiller.superb.cost import multiply_adds
from s3prl_gendistiller.superb.suite.dry_run import planned_work
from s3prl_gendistiller.superb.suite.forecast import Forecast
from s3prl_gendistiller.superb.suite.suite import Suite
from s3prl_gendistiller.superb.tasks import TASKS


@pytest.fixture(autouse=True)
def counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(multiply_adds, "size", lambda model: (1_000_000, 0.3))


def forecast(suite: Suite, *, on_gpu: bool | None = None, asked: float | None = None) -> Forecast:
    return Forecast(suite, planned_work(suite, {}), asked, 1, [] if on_gpu else ["cpu"], on_gpu=on_gpu)


def test_the_small_preset_takes_minutes_and_the_official_one_many_hours(suite: Suite) -> None:
    small = forecast(suite).line()
    assert small.startswith("2 trainings and tests, 1,200 optimiser steps: about ") and " min; 0.0 GB" in small
    mini = forecast(replace(suite, preset="mini", tasks=[TASKS["sd"]])).line()
    assert mini.endswith("--preset small is made for a CPU.")
    official = replace(suite, preset="official", tasks=[TASKS["asv"]])
    assert " h; 1.6 GB of checkpoints" in (line := forecast(official).line())
    assert line.endswith("--preset small is made for a CPU.") and "Based on " in line


def test_a_plan_for_gpus_says_what_a_machine_without_one_would_take(
    suite: Suite, monkeypatch: pytest.MonkeyPatch
) -> None:
    official = replace(suite, preset="official")
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert any(line.startswith("This machine has no GPU. On its ") for line in forecast(official, on_gpu=True).table())
    assert not any("no GPU" in line for line in forecast(official).table())
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    assert not any("no GPU" in line for line in forecast(official, on_gpu=True).table())
    assert "That speed is the one of --tflops." in "\n".join(forecast(official, on_gpu=True, asked=3.0).table())


def test_checkpoints_that_find_no_room_are_refused(suite: Suite, monkeypatch: pytest.MonkeyPatch) -> None:
    official = forecast(replace(suite, preset="official", tasks=[TASKS["asv"]]))
    official.require_room()
    monkeypatch.setattr(feature_store.shutil, "disk_usage", lambda path: argparse.Namespace(free=5 * 10**8))
    forecast(suite).require_room()
    with pytest.raises(UserError, match=r"--out .*: found 500 MB free on its disk, expected 1\.6 GB for checkpoints; "):
        official.require_room()

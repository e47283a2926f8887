"""A training of hours on a CPU is announced before it starts, with what the hours are based on and a shorter recipe."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path
from typing import Any

import pytest
import torch

from s3prl_gendistiller.cli import downstream, long_training
from s3prl_gendistiller.host.paths import VARIABLE
from s3prl_gendistiller.schema import read_layered_yaml
from s3prl_gendistiller.shipped import shipped_folder
from s3prl_gendistiller.superb.tasks import TASKS
from tests.cli.places import FBANK, accepted

FOLDER = shipped_folder("downstream_runs")
TRAINED = [task for task in TASKS.values() if task.trained]


def recipe(name: str) -> dict[str, Any]:
    return read_layered_yaml(FOLDER / name)


def said(caplog: pytest.LogCaptureFixture, config: dict[str, Any], downstream: str, **arguments: Any) -> list[str]:
    """The lines about a run on an upstream of 0.35 G multiply-adds for a second of audio."""
    args = argparse.Namespace(
        **{"upstream": "x_local", "upstream_ckpt": "x.ckpt", "downstream": downstream, **arguments}
    )
    caplog.clear()
    with caplog.at_level(logging.INFO):
        long_training.announce(args, config, config["runner"]["total_steps"])
    return caplog.messages


@pytest.fixture(autouse=True)
def two_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    monkeypatch.setattr(long_training.multiply_adds, "size", lambda model: (0, 0.35))
    monkeypatch.delenv(VARIABLE, raising=False)


@pytest.mark.parametrize("task", TRAINED, ids=lambda task: task.name)
def test_every_task_at_its_full_recipe_is_announced_and_its_small_recipe_is_not(
    task: Any, caplog: pytest.LogCaptureFixture
) -> None:
    full, small = recipe(task.config("official")), recipe(task.config("small"))
    hours, basis = said(caplog, full, task.downstream)
    assert hours.startswith(f"{full['runner']['total_steps']:,} steps of -d {task.downstream} take about ")
    assert "hours" in hours and f"; -c downstream_runs/{task.config('small')} has " in hours
    assert "0.05 TFLOP/s for each of torch's threads (2)" in basis and "0.35 billion multiply-adds" in basis
    assert said(caplog, small, task.downstream) == []


def test_the_hours_are_those_of_the_formula(caplog: pytest.LogCaptureFixture) -> None:
    """SUPERB's KS: 200,000 batches of 32 s, and 20 evaluations or more of its dev set."""
    hours = float(
        said(caplog, recipe("speech_commands/config.yaml"), "speech_commands")[0].split(" about ")[1].split()[0]
    )
    training = 200_000 * (0.03 + 2 * 32 * 0.35e9 / 0.1e12) / 3600
    assert training < hours < 1.5 * training


def test_more_threads_cached_features_and_fine_tuning_are_reckoned_with(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = recipe("voxceleb1/config.yaml")

    def hours(**arguments: Any) -> float:
        return float(said(caplog, config, "voxceleb1", **arguments)[0].split(" about ")[1].split()[0].replace(",", ""))

    frozen = hours()
    assert hours(upstream_trainable=True) > 2 * frozen
    monkeypatch.setattr(torch, "get_num_threads", lambda: 8)
    assert hours() < frozen / 2
    args = argparse.Namespace(upstream="x_local", upstream_ckpt="x.ckpt", downstream="voxceleb1")
    caplog.clear()
    with caplog.at_level(logging.INFO):
        long_training.announce(args, config, 200_000, cached=True)
    assert "take at most about " in caplog.messages[0]


def test_of_a_task_that_serves_two_corpora_the_right_recipe_is_named(caplog: pytest.LogCaptureFixture) -> None:
    for name, small in (("ctc/libriphone.yaml", "libriphone_small"), ("ctc/snips.yaml", "snips_small")):
        assert f"-c downstream_runs/ctc/{small}.yaml" in said(caplog, recipe(name), "ctc")[0]
    assert (
        "-c downstream_runs/speech_commands/small.yaml"
        in said(caplog, recipe("speech_commands/config.yaml"), "glmd_ks")[0]
    )


@pytest.mark.parametrize(
    "arguments",
    [
        {"upstream_ckpt": "https://somewhere/x.ckpt"},
        {"hub": "huggingface"},
        {"upstream_model_config": "settings.yaml"},
        {"downstream": "mosei"},
    ],
)
def test_what_cannot_be_estimated_is_not_announced(arguments: dict[str, Any], caplog: pytest.LogCaptureFixture) -> None:
    given = {"downstream": "asr", **arguments}
    assert said(caplog, recipe("asr/config.yaml"), **given) == []


def test_an_upstream_that_cannot_be_counted_leaves_the_message_to_s3prl(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(model: object) -> None:
        raise RuntimeError("no such weights")

    monkeypatch.setattr(long_training.multiply_adds, "size", broken)
    assert said(caplog, recipe("asr/config.yaml"), "asr") == []


def test_the_launcher_announces_a_new_run_and_what_is_left_of_a_stopped_one(
    inside_place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    announced: list[int] = []
    monkeypatch.setattr(long_training, "announce", lambda args, config, steps, cached: announced.append(steps))
    accepted(*FBANK, "-o", "config.runner.total_steps=200000")
    accepted(*FBANK, "-m", "evaluate", "-e", "down.ckpt", "-t", "test-clean")
    accepted("-m", "train", "-e", "down.ckpt", "-o", "config.runner.total_steps=5000")
    assert announced == [200_000, 4_999] and downstream.long_training is long_training

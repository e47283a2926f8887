"""The plan of a dry run holds the commands that a run launches, in their order, where its assumptions come true."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from s3prl_gendistiller.superb.models import BenchmarkedModel
from s3prl_gendistiller.superb.suite.benchmark import run_suite
from s3prl_gendistiller.superb.suite.dry_run import planned_work
from s3prl_gendistiller.superb.suite.language_model import LEXICON
from s3prl_gendistiller.superb.suite.suite import Suite
from s3prl_gendistiller.superb.tasks import TASKS
from tests.superb.standin import Host

SEEDS = [BenchmarkedModel("mine.1", "fbank"), BenchmarkedModel("mine.2", "fbank")]
LAYERS = {seed.name: (1, 0, 2) for seed in SEEDS}  # the stand-in's best layer first, as a plan assumes
RATES = (1e-2, 1e-3, 1e-4)  # the stand-in's best rate in the middle
STEPS = ",,".join(
    f"config.runner.{key}={value}"
    for key, value in {"total_steps": 100, "eval_step": 5, "save_step": 5, "max_keep": 2}.items()
)
SEARCH: dict[str, Any] = {"search": True, "overrides": STEPS}
HALVING: dict[str, Any] = {**SEARCH, "halving": True}
# task, settings, and commands of all seeds together: (trainings, evaluations), an ASV test being of two checkpoints
CASES = [
    ("ks", {}, (2, 2)),
    ("ks", SEARCH, (3 + 1, 2)),
    ("ks", HALVING, (3 + 2 + 2 + 1 + 1, 2)),
    ("er", {}, (2 * 5, 2 * 5)),
    ("er", SEARCH, (3 + 4 + 5, 2 * 5)),
    ("er", HALVING, (3 + 2 + 2 + 5 + 5, 2 * 5)),
    ("asv", {"overrides": STEPS}, (2, 2 * 2)),
    ("asv", SEARCH, (3 + 1, 3 * 2 + 2 * 2)),
    ("asv", HALVING, (3 + 2 + 2 + 1 + 1, 3 + 2 + 2 + 2 * 2)),
    ("qbe", {}, (0, 2 * (3 + 1))),
    ("asr", {"lm": Path("lm")}, (2, 2 * 2)),
]


@pytest.mark.parametrize(("task", "settings", "counts"), CASES)
def test_the_plan_is_what_is_run(
    task: str, settings: dict[str, Any], counts: tuple[int, int], suite: Suite, host: Host, tmp_path: Path
) -> None:
    (tmp_path / "data/LibriSpeech/len_for_bucket").mkdir(parents=True)
    (tmp_path / "lm").mkdir()
    for name in ("4-gram.bin", LEXICON):
        (tmp_path / "lm" / name).touch()
    asked = replace(suite, models=SEEDS, tasks=[TASKS[task]], rates={task: RATES} if "search" in settings else {})
    asked = replace(asked, **{**settings, **({"lm": tmp_path / "lm"} if "lm" in settings else {})})
    plan = planned_work(asked, LAYERS)
    assert not asked.out.exists()
    planned = [work.command for work in plan for _ in range(work.checkpoints)]
    assert [sum(command[1] == mode for command in planned) for mode in ("train", "evaluate")] == list(counts)

    _, failures = run_suite(asked, host, LAYERS)
    assert failures == []
    assert len(planned) == len(host.commands)
    for expected, command in zip(planned, host.commands, strict=True):
        glob = any("states-*.ckpt" in part for part in expected)
        assert expected == [re.sub(r"states-\d+\.ckpt", "states-*.ckpt", part) if glob else part for part in command]


def test_the_steps_of_a_plan_are_those_that_are_trained(suite: Suite) -> None:
    """Halving: 5 steps of three rates, 15 more of two, 20 of two new rates, and 80 more of the best; then a seed."""
    asked = replace(suite, models=SEEDS, rates={"ks": RATES}, **HALVING)
    steps = [work.steps for work in planned_work(asked, {}) if work.steps]
    assert steps == [5, 5, 5, 15, 15, 20, 20, 80, 100]


def test_an_evaluation_on_dev_counts_the_speech_of_dev(suite: Suite) -> None:
    asked = replace(suite, tasks=[TASKS["asv"]], rates={"asv": RATES}, **SEARCH)
    found = [(work.split, work.checkpoints) for work in planned_work(asked, {}) if not work.steps]
    assert found == [(TASKS["asv"].dev, 2)] * 3 + [(TASKS["asv"].test, 2)]

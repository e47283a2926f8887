"""A run's settings and flags, and the configuration of its task."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.superb.models import BenchmarkedModel
from s3prl_gendistiller.superb.suite import suite as suites
from s3prl_gendistiller.superb.suite.run import trained_runs
from s3prl_gendistiller.superb.suite.suite import Suite
from s3prl_gendistiller.superb.tasks import TASKS
from tests.superb.standin import FBANK


def test_a_missing_corpus_is_named_with_its_task(suite: Suite) -> None:
    with pytest.raises(UserError, match=r"ic: downstream_expert\.datarc\.file_path: looked for .*fluent_speech"):
        suite.config(TASKS["ic"])


def test_moving_the_package_changes_no_setting_and_moving_the_corpora_does(
    suite: Suite, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    run = trained_runs(suite, FBANK, TASKS["ks"], None)[0]
    before = run.settings()
    copied = tmp_path / "elsewhere"
    shutil.copytree(suite.config_file(TASKS["ks"]).parents[1], copied)
    monkeypatch.setattr(suites, "shipped_folder", lambda name: copied)
    assert run.settings() == before
    small = copied / TASKS["ks"].config("small")
    small.write_text(small.read_text().replace("total_steps: 1200", "total_steps: 1201"))
    assert run.settings()["config"] != before["config"]
    monkeypatch.undo()
    monkeypatch.setenv("SUPERB_DATA", str(tmp_path / "other"))
    assert run.settings()["config"] != before["config"]


def test_features_are_kept_for_students_with_weights_and_tasks_that_hear_an_utterance_again(suite: Suite) -> None:
    mine = BenchmarkedModel("mine", "hf_hubert_custom", Path("somewhere"))
    cases = [
        (mine, "ks", "official", True),
        (mine, "sid", "official", False),
        (mine, "sid", "mini", False),
        (mine, "pr", "mini", True),
        (mine, "sid", "small", True),
    ]
    fetched = replace(FBANK, name="hubert", upstream="hubert_base")
    cases += [(fetched, "ks", "small", True), (FBANK, "ks", "small", False)]
    cases += [(replace(fetched, learned=False), "ks", "small", False)]
    for model, task, preset, kept in cases:
        keeping = replace(suite, cache=Path("features"), preset=preset)
        for run in trained_runs(keeping, model, TASKS[task], None):
            command = run.train_command()
            assert ("--cache-features" in command) == kept == ("--cache-features" in run.evaluate_command(None))
            assert kept == (str(Path("features").absolute()) in command)
            limited = replace(run, suite=replace(keeping, cache_limit=50 * 10**9)).train_command()
            assert kept == ("--cache-limit" in limited and "50000000000" in limited)

"""Running and resuming, with a stand-in for run_downstream.py that writes the files of s3prl."""

from __future__ import annotations

import errno
import json
import os
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from s3prl_gendistiller.superb.models import BenchmarkedModel
from s3prl_gendistiller.superb.suite.benchmark import run_suite
from s3prl_gendistiller.superb.suite.dry_run import planned_work
from s3prl_gendistiller.superb.suite.record import RECORD
from s3prl_gendistiller.superb.suite.suite import Suite
from s3prl_gendistiller.superb.tasks import TASKS
from tests.superb.standin import FBANK, Host


def test_a_task_is_trained_tested_and_written_down(suite: Suite, host: Host) -> None:
    results, failures = run_suite(suite, host, {})
    assert failures == [] and results["fbank"]["ks"].values == {"acc": 50.0}
    train, test = host.commands
    folder = str(suite.out / "runs/fbank/ks")
    assert train[:2] == ["-m", "train"] and "-a" in train and train[train.index("-p") + 1] == folder
    assert train[train.index("-c") + 1].endswith("downstream_runs/speech_commands/small.yaml")
    assert test == ["-m", "evaluate", "-t", "test", "-e", f"{folder}/dev-best.ckpt"]
    record = json.loads((suite.out / "runs/fbank/ks" / RECORD).read_text())
    assert record["trained"]["dev"] == pytest.approx(90 - 40) and record["tested"]["values"] == {"acc": 50.0}


def test_what_is_finished_is_not_done_again(suite: Suite, host: Host) -> None:
    first, _ = run_suite(suite, host, {})
    again, _ = run_suite(suite, host, {})
    assert len(host.commands) == 2 and again == first


def test_emotion_is_the_mean_of_five_folds(suite: Suite, host: Host) -> None:
    results, _ = run_suite(replace(suite, tasks=[TASKS["er"]]), host, {})
    assert results["fbank"]["er"].values == {"acc": pytest.approx(30.0)}
    assert host.trained() == [f"er-fold{number}" for number in range(1, 6)]
    assert "config.downstream_expert.datarc.test_fold='fold2'" in host.commands[2]


def test_the_learning_rate_is_searched_with_the_first_seed_and_fixed_for_the_others(suite: Suite, host: Host) -> None:
    seeds = [BenchmarkedModel("mine.1", "fbank"), BenchmarkedModel("mine.2", "fbank")]
    results, _ = run_suite(replace(suite, models=seeds, search=True), host, {})
    assert host.trained() == ["ks-lr0.01", "ks-lr0.003", "ks-lr0.001", "ks-lr0.001"]
    assert [results[seed.name]["ks"].lr for seed in seeds] == [0.001, 0.001]
    assert results["mine.2"]["ks"].dev == pytest.approx({"0.01": 50, "0.003": 50, "0.001": 90})


@pytest.mark.parametrize("rates", [(0.1,), (0.1, 0.2)])
def test_seeds_are_trained_side_by_side_once_the_rate_is_known(suite: Suite, rates: tuple[float, ...]) -> None:
    together = threading.Barrier(3 if len(rates) == 1 else 2)

    class Together(Host):
        def __call__(self, arguments: Sequence[str], log: Path) -> None:
            if arguments[1] == "train" and (len(rates) == 1 or "mine.1" not in str(log)):
                together.wait(timeout=20)
            super().__call__(arguments, log)

    seeds = [BenchmarkedModel(f"mine.{number}", "fbank") for number in (1, 2, 3)]
    results, failures = run_suite(replace(suite, models=seeds, rates={"ks": rates}), Together(), {}, jobs=3)
    assert failures == [] and all(results[seed.name]["ks"].lr in rates for seed in seeds)


def test_given_rates_take_the_place_of_the_tasks_own(suite: Suite, host: Host) -> None:
    run_suite(replace(suite, rates={"ks": (0.5,)}), host, {})
    assert host.trained() == ["ks-lr0.5"] and "config.optimizer.lr=0.5" in host.commands[0]


def test_query_by_example_tests_the_layer_that_is_best_on_dev(suite: Suite, host: Host) -> None:
    results, _ = run_suite(replace(suite, tasks=[TASKS["qbe"]]), host, {"fbank": (0, 1, 2)})
    outcome = results["fbank"]["qbe"]
    assert outcome.values == {"mtwv": 100.0} and outcome.layer == 1
    assert [command[3] for command in host.commands] == ["dev", "dev", "dev", "test"]
    assert host.commands[-1][-2:] == ["-l", "1"] and host.trained() == []


def test_speaker_verification_is_searched_on_trials_between_dev_speakers(suite: Suite, host: Host) -> None:
    suite = replace(suite, tasks=[TASKS["asv"]], rates={"asv": (0.1, 0.2)})
    run_suite(suite, host, {})
    trials = suite.out.absolute() / "runs/fbank/asv-lr0.1/dev_trials.txt"
    assert trials.read_text() == "1 ../../dev/wav/id1/a.wav ../../dev/wav/id2/b.wav\n"
    assert f"config.downstream_expert.datarc.test_meta_data='{trials}'" in host.commands[1]


def test_one_failure_leaves_the_rest_and_is_tried_again(suite: Suite, host: Host) -> None:
    suite = replace(suite, tasks=[TASKS["ks"], TASKS["er"]])
    host.broken = {"er-fold3"}
    results, failures = run_suite(suite, host, {}, jobs=2)
    assert list(results["fbank"]) == ["ks"] and failures == ["fbank on er: ended with status 1"]
    host.broken.clear()
    host.commands.clear()
    results, failures = run_suite(suite, host, {})
    assert failures == [] and host.trained() == ["er-fold3", "er-fold4", "er-fold5"]


def test_the_plan_holds_the_commands_that_are_run(suite: Suite, host: Host) -> None:
    suite = replace(suite, tasks=[TASKS["ks"], TASKS["er"]])
    planned = [work.command for work in planned_work(suite, {})]
    assert host.commands == [] and not suite.out.exists()
    run_suite(suite, host, {})
    assert sorted(planned) == sorted(host.commands)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_ends_a_suite_with_one_message_and_the_same_suite_goes_on(
    suite: Suite, host: Host, number: int
) -> None:
    """Whether a run says so or a record of ours finds no room."""
    wide = replace(suite, models=[replace(FBANK, name=name) for name in "abc"], tasks=[TASKS["ks"], TASKS["er"]])

    def full(arguments: Sequence[str], log: Path) -> None:
        if len(host.commands) > 3:
            raise OSError(number, os.strerror(number), str(log))
        host(arguments, log)

    results, failures = run_suite(wide, full, {})
    assert len(failures) == 1 and os.strerror(number) in failures[0] and "make room" in failures[0]
    done = sum(map(len, results.values()))
    results, failures = run_suite(wide, host, {})
    assert failures == [] and sum(map(len, results.values())) == 6 and done < 6
    commands = [tuple(command) for command in host.commands]
    assert len(set(commands)) == len(commands)  # nothing was done twice


def test_a_file_that_cannot_be_read_fails_one_run_and_no_other(suite: Suite, host: Host) -> None:
    (suite.out / "runs/fbank").mkdir(parents=True)
    (suite.out / "runs/fbank/ks").touch()
    results, failures = run_suite(replace(suite, tasks=[TASKS["ks"], TASKS["er"]]), host, {})
    assert len(failures) == 1 and "runs/fbank/ks" in failures[0] and set(results["fbank"]) == {"er"}

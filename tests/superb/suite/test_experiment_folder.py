"""What a run leaves: its record, its checkpoints, and how it goes on from both."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.superb.models import BenchmarkedModel
from s3prl_gendistiller.superb.suite import execution, record
from s3prl_gendistiller.superb.suite.benchmark import run_suite
from s3prl_gendistiller.superb.suite.experiment_folder import TRAIN_LOG, ExperimentFolders
from s3prl_gendistiller.superb.suite.record import RECORD, write_record
from s3prl_gendistiller.superb.suite.run import trained_runs
from s3prl_gendistiller.superb.suite.suite import Suite
from s3prl_gendistiller.superb.tasks import TASKS
from tests.superb.standin import FBANK, Host


def test_a_suite_killed_between_training_and_test_only_tests(suite: Suite, host: Host) -> None:
    run_suite(suite, host, {})
    path = suite.out / "runs/fbank/ks" / RECORD
    content = json.loads(path.read_text())
    path.write_text(json.dumps({key: content[key] for key in ("settings", "trained")}))
    host.commands.clear()
    results, _ = run_suite(suite, host, {})
    assert [command[1] for command in host.commands] == ["evaluate"] and results["fbank"]["ks"].values == {"acc": 50.0}


def test_speaker_verification_reports_the_best_of_its_checkpoints(suite: Suite, host: Host) -> None:
    suite = replace(suite, tasks=[TASKS["asv"]])
    folder = suite.out / "runs/fbank/asv"
    folder.mkdir(parents=True)
    torch.save({"Step": 2}, folder / "states-2.ckpt")
    results, _ = run_suite(suite, host, {})
    assert results["fbank"]["asv"].values == {"eer": pytest.approx(20.0)}
    assert [Path(command[-1]).name for command in host.commands[1:]] == ["states-2.ckpt", "states-4.ckpt"]
    assert json.loads((folder / RECORD).read_text())["tested"]["checkpoint"] == "states-2.ckpt"
    assert (folder / "test_predict.txt").read_text() == "0.2\n"  # of the best, though it was not the last


def test_without_a_best_checkpoint_the_newest_is_tested_and_it_is_said(suite: Suite, host: Host) -> None:
    class Hopeless(Host):
        def __call__(self, arguments: Sequence[str], log: Path) -> None:
            super().__call__(arguments, log)
            (log.parent / "dev-best.ckpt").unlink(missing_ok=True)

    results, failures = run_suite(suite, Hopeless(), {})
    fallback = str(results["fbank"]["ks"].fallback)
    assert failures == [] and "saved no best checkpoint and states-4.ckpt was tested" in fallback


def left_half_written(folder: Path, *names: str) -> None:
    for name in names:
        torch.save({"Step": 2, "Downstream": torch.zeros(1000)}, folder / name)
        (folder / name).write_bytes((folder / name).read_bytes()[:2000])


def dev_of(folder: Path) -> float:
    return float(json.loads((folder / RECORD).read_text())["trained"]["dev"])


def test_a_run_killed_in_its_only_checkpoint_begins_again(
    suite: Suite, host: Host, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("s3prl_gendistiller"), "propagate", True)
    folder = suite.out / "runs/fbank/ks"
    folder.mkdir(parents=True)
    left_half_written(folder, "states-2.ckpt")
    (folder / TRAIN_LOG).write_text("dev acc: 0.99\n")  # of a training that nothing is left of
    results, failures = run_suite(suite, host, {})
    assert failures == [] and results["fbank"]["ks"].values == {"acc": 50.0} and host.trained() == ["ks"]
    assert not (folder / "states-2.ckpt").exists() and "only checkpoint; it begins again" in caplog.text
    assert dev_of(folder) == 50.0


def test_a_run_killed_in_its_only_checkpoint_goes_on_from_its_best(suite: Suite, host: Host) -> None:
    folder = suite.out / "runs/fbank/ks"
    folder.mkdir(parents=True)
    left_half_written(folder, "states-2.ckpt")
    torch.save({"Step": 1}, folder / "dev-best.ckpt")
    (folder / TRAIN_LOG).write_text("dev acc: 0.99\n")
    _, failures = run_suite(suite, host, {})
    assert failures == [] and host.trained() == ["ks"] and (folder / "states-2.ckpt").is_file()
    assert dev_of(folder) == pytest.approx(99)


def test_a_folder_without_a_whole_checkpoint_is_named_and_left(suite: Suite, host: Host) -> None:
    folder = suite.out / "runs/fbank/ks"
    folder.mkdir(parents=True)
    left_half_written(folder, "states-1.ckpt", "states-2.ckpt")
    _, failures = run_suite(suite, host, {})
    assert len(failures) == 1 and "none of them is whole (states-2.ckpt); remove the folder" in failures[0]
    assert host.commands == [] and len(list(folder.glob("states-*.ckpt"))) == 2


def test_a_broken_record_is_named(suite: Suite, host: Host) -> None:
    run_suite(suite, host, {})
    (suite.out / "runs/fbank/ks" / RECORD).write_text('{"settings":')
    _, failures = run_suite(suite, host, {})
    assert len(failures) == 1 and f"{RECORD}: not readable" in failures[0]


@pytest.mark.parametrize(
    ("change", "said"), [({"seed": 2}, "another seed (found 1337, now 2)"), ({"features": "last"}, "another features")]
)
def test_a_result_of_other_settings_is_not_taken(suite: Suite, host: Host, change: dict, said: str) -> None:
    run_suite(suite, host, {})
    _, failures = run_suite(replace(suite, **change), host, {})
    assert len(failures) == 1 and said in failures[0] and "give another --out" in failures[0]


def test_what_a_killed_run_left_is_not_taken_for_another_students(suite: Suite, host: Host) -> None:
    host.broken = {"ks"}
    run_suite(suite, host, {})
    _, failures = run_suite(replace(suite, models=[BenchmarkedModel("fbank", "mfcc")]), host, {})
    assert len(failures) == 1 and "another student (found fbank, now mfcc)" in failures[0]


def test_a_record_appears_whole_or_not_at_all(suite: Suite, host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr(record.json, "dumps", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_record(trained_runs(suite, FBANK, TASKS["ks"], None)[0], {})
    assert not list(suite.out.rglob(f"*{RECORD}*"))


def test_a_checkpoint_that_gives_no_number_is_passed_over_where_another_has_one(suite: Suite, host: Host) -> None:
    run = trained_runs(suite, FBANK, TASKS["asv"], None)[0]
    run.folder.mkdir(parents=True)
    for step in (2, 4):
        torch.save({"Step": step}, run.folder / f"states-{step}.ckpt")

    def evaluate(numbers: dict[str, str]) -> ExperimentFolders:
        def launch(arguments: Sequence[str], log: Path) -> None:
            (number,) = (value for name, value in numbers.items() if name in " ".join(arguments))
            log.write_text(f"sv-voxceleb1/test-EER: {number}\n")

        return ExperimentFolders(launch)

    dev = evaluate({"states-2": "nan", "states-4": "nan"})
    (run.folder / TRAIN_LOG).touch()
    write_record(run, {"settings": run.settings(), "trained": {"dev": None, "seconds": 1.0}})
    assert math.isnan(execution.dev_value(run, dev)) and math.isnan(execution.dev_value_after(run, dev, 4))
    assert json.loads((run.folder / RECORD).read_text())["stages"]["4"]["dev"] is None
    assert math.isnan(execution.dev_value_after(run, ExperimentFolders(host), 4)) and host.commands == []  # it is known
    with pytest.raises(UserError, match="asv: test has no valid EER %: found nan"):
        execution.evaluate(run, evaluate({"states-2": "nan", "states-4": "nan"}))
    for numbers in ({"states-2": "nan", "states-4": "0.3"}, {"states-2": "0.3", "states-4": "nan"}):
        write_record(run, {"settings": run.settings()})
        assert execution.evaluate(run, evaluate(numbers))["tested"]["values"] == {"eer": pytest.approx(30.0)}


@pytest.mark.parametrize("ended", [False, True])
@pytest.mark.parametrize("halving", [False, True])
def test_a_rate_that_diverged_never_wins(halving: bool, ended: bool, suite: Suite, host: Host) -> None:
    """Also where it was tried first, whatever the order of NaN and numbers on dev, and where its training was ended."""

    def launch(arguments: Sequence[str], log: Path) -> None:
        host(arguments, log)
        if arguments[1] != "train":
            return
        if "lr=0.01" not in " ".join(arguments):
            log.write_text("dev acc: nan\ndev acc: 0.5\n")
        elif ended:
            raise UserError("ended with status 2: error: step 7: the loss or its gradient was not finite 5 times")
        else:
            log.write_text("dev acc: nan\n")

    searched = replace(suite, search=True, halving=halving, rates={"ks": (1e-2, 3e-3)})
    results, failures = run_suite(searched, launch, {})
    outcome = results["fbank"]["ks"]
    assert failures == [] and outcome.lr == 3e-3
    assert math.isnan(outcome.dev["0.01"]) and outcome.dev["0.003"] == 50.0

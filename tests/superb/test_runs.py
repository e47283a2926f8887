"""Planning and resuming on a launcher that writes what s3prl would."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.superb import plan, runs, trial
from s3prl_gendistiller.superb.agenda import planned_work
from s3prl_gendistiller.superb.plan import Suite
from s3prl_gendistiller.superb.runs import run_suite
from s3prl_gendistiller.superb.students import Student
from s3prl_gendistiller.superb.tasks import TASKS
from s3prl_gendistiller.superb.trial import RECORD

FBANK = Student("fbank", "fbank")


class Host:
    """Stands for run_downstream.py: dev is best at a learning rate of 0.001, layer 1 is the best."""

    def __init__(self) -> None:
        self.commands: list[list[str]] = []
        self.broken: set[str] = set()  # parts of a folder's name whose runs fail

    def __call__(self, arguments: Sequence[str], log: Path) -> None:
        command = list(arguments)
        self.commands.append(command)
        if any(part in str(log) for part in self.broken):
            raise UserError("ended with status 1")
        text = " ".join(command)
        if command[1] == "train":
            dev = 0.9 if "lr=0.001" in text else 0.5
            with log.open("a") as file:
                file.write(f"dev acc: {dev}\n")
            torch.save({"Step": 4}, log.parent / "states-4.ckpt")
            torch.save({"Step": 4}, log.parent / "dev-best.ckpt")
        elif "quesst14_dtw" in text:
            found, missed = ("d1", "d2") if "-l 1" in text else ("d2", "d1")
            terms = f'<term file="{found}" score="1"/><term file="{missed}" score="0"/>'
            xml = f'<s><detected_termlist termid="q">{terms}</detected_termlist></s>'
            (log.parent / "benchmark.stdlist.xml").write_text(xml)
            log.write_text("")
        else:
            number = next((int(part[-1]) for part in log.parent.name.split("-") if part.startswith("fold")), 5)
            eer = 0.3 if "states-4.ckpt" in text else 0.2
            (log.parent / "test_predict.txt").write_text(f"{eer}\n")
            log.write_text(f"test acc: {number / 10}\nsv-voxceleb1/test-EER: {eer}\n")

    def trained(self) -> list[str]:
        return [Path(command[command.index("-p") + 1]).name for command in self.commands if command[1] == "train"]


@pytest.fixture
def host() -> Host:
    return Host()


@pytest.fixture
def suite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Suite:
    data = tmp_path / "data"
    monkeypatch.setenv("SUPERB_DATA", str(data))
    folders = (
        "speech_commands_v0.01",
        "speech_commands_test_set_v0.01",
        "IEMOCAP/meta_data",
        "VoxCeleb1/dev_meta_data",
    )
    for name in (*folders, *(f"quesst14Database/scoring/groundtruth_quesst14_{split}" for split in ("dev", "eval"))):
        (data / name).mkdir(parents=True)
        (data / name / "truth.rttm").write_text("LEXEME d1 1 0 1 q lex <NA> <NA>\n")
    for name in ("dev_meta_data/dev_speaker_ids.txt", "dev_meta_data/dev_meta_data.txt", "voxceleb1_test_v2.txt"):
        (data / "VoxCeleb1" / name).write_text("1 id1/a.wav id2/b.wav\n")
    return Suite([FBANK], [TASKS["ks"]], "small", tmp_path / "out")


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


def test_a_suite_killed_between_training_and_test_only_tests(suite: Suite, host: Host) -> None:
    run_suite(suite, host, {})
    path = suite.out / "runs/fbank/ks" / RECORD
    record = json.loads(path.read_text())
    path.write_text(json.dumps({key: record[key] for key in ("settings", "trained")}))
    host.commands.clear()
    results, _ = run_suite(suite, host, {})
    assert [command[1] for command in host.commands] == ["evaluate"] and results["fbank"]["ks"].values == {"acc": 50.0}


def test_emotion_is_the_mean_of_five_folds(suite: Suite, host: Host) -> None:
    results, _ = run_suite(replace(suite, tasks=[TASKS["er"]]), host, {})
    assert results["fbank"]["er"].values == {"acc": pytest.approx(30.0)}
    assert host.trained() == [f"er-fold{number}" for number in range(1, 6)]
    assert "config.downstream_expert.datarc.test_fold='fold2'" in host.commands[2]


def test_the_learning_rate_is_searched_with_the_first_seed_and_fixed_for_the_others(suite: Suite, host: Host) -> None:
    seeds = [Student("mine.1", "fbank"), Student("mine.2", "fbank")]
    results, _ = run_suite(replace(suite, students=seeds, search=True), host, {})
    assert host.trained() == ["ks-lr0.01", "ks-lr0.003", "ks-lr0.001", "ks-lr0.001"]
    assert [results[seed.name]["ks"].lr for seed in seeds] == [0.001, 0.001]
    assert results["mine.2"]["ks"].dev == pytest.approx({"0.01": 50, "0.003": 50, "0.001": 90})


def test_given_rates_take_the_place_of_the_tasks_own(suite: Suite, host: Host) -> None:
    run_suite(replace(suite, rates={"ks": (0.5,)}), host, {})
    assert host.trained() == ["ks-lr0.5"] and "config.optimizer.lr=0.5" in host.commands[0]


def test_query_by_example_tests_the_layer_that_is_best_on_dev(suite: Suite, host: Host) -> None:
    results, _ = run_suite(replace(suite, tasks=[TASKS["qbe"]]), host, {"fbank": (0, 1, 2)})
    outcome = results["fbank"]["qbe"]
    assert outcome.values == {"mtwv": 100.0} and outcome.layer == 1
    assert [command[3] for command in host.commands] == ["dev", "dev", "dev", "test"]
    assert host.commands[-1][-2:] == ["-l", "1"] and host.trained() == []


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


def test_speaker_verification_is_searched_on_trials_between_dev_speakers(suite: Suite, host: Host) -> None:
    suite = replace(suite, tasks=[TASKS["asv"]], rates={"asv": (0.1, 0.2)})
    run_suite(suite, host, {})
    trials = suite.out.absolute() / "runs/fbank/asv-lr0.1/dev_trials.txt"
    assert trials.read_text() == "1 ../../dev/wav/id1/a.wav ../../dev/wav/id2/b.wav\n"
    assert f"config.downstream_expert.datarc.test_meta_data='{trials}'" in host.commands[1]


def test_without_a_best_checkpoint_the_newest_is_tested_and_it_is_said(suite: Suite, host: Host) -> None:
    class Hopeless(Host):
        def __call__(self, arguments: Sequence[str], log: Path) -> None:
            super().__call__(arguments, log)
            (log.parent / "dev-best.ckpt").unlink(missing_ok=True)

    results, failures = run_suite(suite, Hopeless(), {})
    assert failures == [] and "so states-4.ckpt was tested" in str(results["fbank"]["ks"].fallback)


def test_one_failure_leaves_the_rest_and_is_tried_again(suite: Suite, host: Host) -> None:
    suite = replace(suite, tasks=[TASKS["ks"], TASKS["er"]])
    host.broken = {"er-fold3"}
    results, failures = run_suite(suite, host, {}, jobs=2)
    assert list(results["fbank"]) == ["ks"] and failures == ["fbank on er: ended with status 1"]
    host.broken.clear()
    host.commands.clear()
    results, failures = run_suite(suite, host, {})
    assert failures == [] and host.trained() == ["er-fold3", "er-fold4", "er-fold5"]


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
    (folder / trial.TRAIN_LOG).write_text("dev acc: 0.99\n")  # of a training that nothing is left of
    results, failures = run_suite(suite, host, {})
    assert failures == [] and results["fbank"]["ks"].values == {"acc": 50.0} and host.trained() == ["ks"]
    assert not (folder / "states-2.ckpt").exists() and "only checkpoint; it begins again" in caplog.text
    assert dev_of(folder) == 50.0


def test_a_run_killed_in_its_only_checkpoint_goes_on_from_its_best(suite: Suite, host: Host) -> None:
    folder = suite.out / "runs/fbank/ks"
    folder.mkdir(parents=True)
    left_half_written(folder, "states-2.ckpt")
    torch.save({"Step": 1}, folder / "dev-best.ckpt")
    (folder / trial.TRAIN_LOG).write_text("dev acc: 0.99\n")
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
    _, failures = run_suite(replace(suite, students=[Student("fbank", "mfcc")]), host, {})
    assert len(failures) == 1 and "another student (found fbank, now mfcc)" in failures[0]


def test_a_record_appears_whole_or_not_at_all(suite: Suite, host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr(trial.json, "dumps", interrupted)
    with pytest.raises(KeyboardInterrupt):
        trial._write_record(runs.trained_runs(suite, FBANK, TASKS["ks"], None)[0], {})
    assert not list(suite.out.rglob(f"*{RECORD}*"))


def test_the_plan_holds_the_commands_that_are_run(suite: Suite, host: Host) -> None:
    suite = replace(suite, tasks=[TASKS["ks"], TASKS["er"]])
    planned = [work.command for work in planned_work(suite, {})]
    assert host.commands == [] and not suite.out.exists()
    run_suite(suite, host, {})
    assert sorted(planned) == sorted(host.commands)


def test_a_missing_corpus_is_named_with_its_task(suite: Suite) -> None:
    with pytest.raises(UserError, match=r"ic: downstream_expert\.datarc\.file_path: looked for .*fluent_speech"):
        suite.config(TASKS["ic"])


def test_moving_the_package_changes_no_setting_and_moving_the_corpora_does(
    suite: Suite, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    run = runs.trained_runs(suite, FBANK, TASKS["ks"], None)[0]
    before = run.settings()
    copied = tmp_path / "elsewhere"
    shutil.copytree(suite.config_file(TASKS["ks"]).parents[1], copied)
    monkeypatch.setattr(plan, "shipped_folder", lambda name: copied)
    assert run.settings() == before
    small = copied / TASKS["ks"].config("small")
    small.write_text(small.read_text().replace("total_steps: 1200", "total_steps: 1201"))
    assert run.settings()["config"] != before["config"]
    monkeypatch.undo()
    monkeypatch.setenv("SUPERB_DATA", str(tmp_path / "other"))
    assert run.settings()["config"] != before["config"]


def test_features_are_kept_for_students_with_weights_and_tasks_that_hear_an_utterance_again(suite: Suite) -> None:
    mine = Student("mine", "hf_hubert_custom", Path("somewhere"))
    cases = [(mine, "ks", "official", True), (mine, "sid", "official", False), (mine, "sid", "small", True)]
    for student, task, preset, kept in (*cases, (FBANK, "ks", "small", False)):
        keeping = replace(suite, cache=Path("features"), preset=preset)
        for run in runs.trained_runs(keeping, student, TASKS[task], None):
            command = run.train_command()
            assert ("--cache-features" in command) == kept == ("--cache-features" in run.test_command(None, "dev"))
            assert kept == (str(Path("features").absolute()) in command)

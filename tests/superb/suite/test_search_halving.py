"""A search in parts on a launcher that writes what s3prl would: what it runs, what it keeps, how it goes on."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.superb.models import BenchmarkedModel
from s3prl_gendistiller.superb.suite.benchmark import run_suite
from s3prl_gendistiller.superb.suite.dry_run import planned_work
from s3prl_gendistiller.superb.suite.suite import Suite
from s3prl_gendistiller.superb.tasks import TASKS

FBANK = BenchmarkedModel("fbank", "fbank")
STEPS = "config.runner.total_steps=100,,config.runner.eval_step=5,,config.runner.save_step=5"


class Trainer:
    """Stands for run_downstream.py: trains on from the newest checkpoint; dev is best near a rate of 0.001."""

    def __init__(self, dies_at: int | None = None) -> None:
        self.dies_at = dies_at  # the number of a launch that is interrupted half-way
        self.trained: list[tuple[str, int, int]] = []  # folder, from step, to step
        self.commands: list[list[str]] = []

    def __call__(self, arguments: Sequence[str], log: Path) -> None:
        command = list(arguments)
        self.commands.append(command)
        text = " ".join(command)
        rate = next((float(part.split("=")[1]) for part in text.split(",,") if "optimizer.lr=" in part), 1e-3)
        with log.open("a") as out:
            if command[1] == "evaluate":
                eer = {0.001: 0.1}.get(float(log.parent.name.rpartition("lr")[2]), 0.3)
                out.write(f"test acc: 0.7\nsv-voxceleb1/test-EER: {eer}\n")
                return
            total = int([part for part in text.split(",,") if "total_steps=" in part][-1].split("=")[-1].split()[0])
            before = max((int(path.stem.split("-")[1]) for path in log.parent.glob("states-*.ckpt")), default=0)
            killed = self.dies_at == len(self.commands)
            after = before + 5 if killed else max(total, before)
            self.trained.append((log.parent.name, before, after))
            for step in range(before + 5, after + 1, 5):
                torch.save({"Step": step}, log.parent / f"states-{step}.ckpt")
                out.write(f"dev acc: {0.9 - round(abs(math.log10(rate / 0.001)), 3) / 10 + step / 1e4}\n")
            torch.save({"Step": after}, log.parent / "dev-best.ckpt")
        if killed:
            raise KeyboardInterrupt


@pytest.fixture
def suite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Suite:
    data = tmp_path / "data"
    monkeypatch.setenv("SUPERB_DATA", str(data))
    for name in ("speech_commands_v0.01", "speech_commands_test_set_v0.01", "VoxCeleb1/dev_meta_data"):
        (data / name).mkdir(parents=True)
    for name in ("dev_meta_data/dev_speaker_ids.txt", "dev_meta_data/dev_meta_data.txt", "voxceleb1_test_v2.txt"):
        (data / "VoxCeleb1" / name).write_text("1 id1/a.wav id2/b.wav\n")
    out = tmp_path / "out"
    return Suite([FBANK], [TASKS["ks"]], "official", out, search=True, overrides=STEPS, halving=True)


def record(suite: Suite, name: str) -> dict:
    return json.loads((suite.out / f"runs/fbank/{name}/superb.json").read_text())


def test_each_rate_goes_on_from_where_it_was_compared(suite: Suite) -> None:
    trainer = Trainer()
    results, failures = run_suite(suite, trainer, {})
    outcome = results["fbank"]["ks"]
    assert failures == [] and outcome.lr == 0.001 and outcome.values == {"acc": pytest.approx(70)}
    assert trainer.trained == [
        *((f"ks-lr{rate}", 0, 5) for rate in ("0.1", "0.01", "0.001", "0.0001", "1e-05")),
        ("ks-lr0.001", 5, 20),
        ("ks-lr0.01", 5, 20),
        ("ks-lr0.0001", 5, 20),
        ("ks-lr0.003", 0, 20),
        ("ks-lr0.0003", 0, 20),
        ("ks-lr0.001", 20, 100),
    ]
    assert list(outcome.trials["0.001"]) == ["5", "20"] and list(outcome.trials["0.1"]) == ["5"]
    assert outcome.dev["0.001"] == pytest.approx(90.2)
    assert trainer.commands[-1][-1].endswith("ks-lr0.001/dev-best.ckpt")


def test_the_plan_is_what_is_run(suite: Suite) -> None:
    suite = replace(suite, rates={"ks": (1e-2, 1e-3, 1e-4)})
    planned = [work.command for work in planned_work(suite, {})]
    assert not suite.out.exists()
    trainer = Trainer()
    run_suite(suite, trainer, {})
    assert sorted(planned) == sorted(trainer.commands)


@pytest.mark.parametrize("launch", range(1, 13))
def test_a_search_that_is_killed_goes_on_and_repeats_no_step(suite: Suite, launch: int) -> None:
    whole = Trainer()
    expected, _ = run_suite(replace(suite, out=suite.out / "whole"), whole, {})
    first, second = Trainer(dies_at=launch), Trainer()
    if launch == len(whole.commands):
        first.dies_at = None  # the test of the winner; nothing is left to train
    with contextlib.suppress(KeyboardInterrupt):
        run_suite(suite, first, {})
    results, failures = run_suite(suite, second, {})
    assert failures == []
    outcome, wanted = results["fbank"]["ks"], expected["fbank"]["ks"]
    assert (outcome.lr, outcome.values, outcome.trials) == (wanted.lr, wanted.values, wanted.trials)
    steps = sum(after - before for _, before, after in first.trained + second.trained)
    assert steps == sum(after - before for _, before, after in whole.trained)
    third = Trainer()
    run_suite(suite, third, {})
    assert third.commands == []


def test_what_a_search_began_is_trained_to_the_end_without_it(suite: Suite) -> None:
    with pytest.raises(KeyboardInterrupt):
        run_suite(suite, Trainer(dies_at=1), {})
    assert record(suite, "ks-lr0.1")["stages"] == {}
    trainer = Trainer()
    run_suite(replace(suite, rates={"ks": (0.1,)}, halving=False), trainer, {})
    assert trainer.trained == [("ks-lr0.1", 5, 100)]  # the checkpoint itself says 5
    assert record(suite, "ks-lr0.1")["trained"]["dev"] == pytest.approx(71)


def test_what_was_trained_to_the_end_is_compared_by_its_beginning(suite: Suite) -> None:
    run_suite(replace(suite, rates={"ks": (0.01,)}, halving=False), Trainer(), {})
    before = record(suite, "ks-lr0.01")
    assert set(before) == {"settings", "trained", "tested"} and before["trained"]["dev"] == pytest.approx(81)
    trainer = Trainer()
    results, _ = run_suite(replace(suite, rates={"ks": (0.01, 0.001)}), trainer, {})
    assert "ks-lr0.01" not in [name for name, *_ in trainer.trained]
    assert results["fbank"]["ks"].trials["0.01"] == {"5": pytest.approx(80.05)}
    assert record(suite, "ks-lr0.01")["trained"] == before["trained"]


def test_full_trainings_of_an_earlier_search_are_recognised(suite: Suite) -> None:
    """Folders as they were made before searches in parts existed: their settings have not changed."""
    plain = replace(suite, preset="small", halving=False, rates={"ks": (0.01, 0.001)})
    run_suite(plain, Trainer(), {})
    for rate in ("0.01", "0.001"):
        found = record(plain, f"ks-lr{rate}")
        assert set(found["settings"]) == {"student", "task", "config", "features", "seed", "overrides"}
        assert "stages" not in found
    again = Trainer()
    run_suite(plain, again, {})
    assert again.commands == []


def test_speaker_verification_is_compared_on_trials_between_dev_speakers(suite: Suite) -> None:
    suite = replace(suite, tasks=[TASKS["asv"]], rates={"asv": (1e-2, 1e-3, 1e-4)})
    trainer = Trainer()
    results, failures = run_suite(suite, trainer, {})
    assert failures == [] and results["fbank"]["asv"].lr == 0.001
    assert record(suite, "asv-lr0.01")["stages"]["5"]["dev"] == pytest.approx(30)
    compared = [command for command in trainer.commands if "dev_trials.txt" in command[-1]]
    assert compared[0][compared[0].index("-e") + 1].endswith("asv-lr0.01/states-5.ckpt")
    assert len(compared) == 3 + 2 + 2


def test_the_other_seeds_take_the_rate_that_was_found(suite: Suite) -> None:
    trainer = Trainer()
    seeds = [BenchmarkedModel("mine.1", "fbank"), BenchmarkedModel("mine.2", "fbank")]
    run_suite(replace(suite, models=seeds, rates={"ks": (1e-2, 1e-3)}), trainer, {})
    second = [command for command in trainer.commands if "mine.2" in " ".join(command)]
    assert [command[1] for command in second] == ["train", "evaluate"]
    assert "optimizer.lr=0.001" in " ".join(second[0])


def test_without_an_evaluation_on_dev_the_folder_is_named(suite: Suite) -> None:
    class Silent(Trainer):
        def __call__(self, arguments: Sequence[str], log: Path) -> None:
            super().__call__(arguments, log)
            log.write_text("")

    _, failures = run_suite(suite, Silent(), {})
    assert len(failures) == 1 and "ks-lr0.1: nothing was evaluated on dev" in failures[0]
    with pytest.raises(UserError, match=r"config\.scheduler"):
        planned_work(replace(suite, overrides=f"{STEPS},,config.scheduler.name='x'"), {})

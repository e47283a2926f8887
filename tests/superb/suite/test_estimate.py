"""The plan's numbers, against s3prl's own heads and cases worked by hand."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from s3prl_gendistiller.superb.models import BenchmarkedModel
from s3prl_gendistiller.superb.suite.dry_run import planned_work
from s3prl_gendistiller.superb.suite.duration import longest_s
from s3prl_gendistiller.superb.suite.estimate import (
    CORE_TFLOPS,
    GPU_TFLOPS,
    Estimate,
    estimate,
    sustained,
    wall_hours,
)
from s3prl_gendistiller.superb.suite.suite import Suite
from s3prl_gendistiller.superb.tasks import PRESETS, TASKS, choose_tasks
from tests.conftest import run_python

FBANK = BenchmarkedModel("fbank", "fbank")


def suite_of(*tasks: str, **changes: object) -> Suite:
    suite = Suite([FBANK], [TASKS[name] for name in tasks], "official", Path("out"))
    return replace(suite, **changes)


def test_a_training_is_estimated_as_by_hand() -> None:
    """PR at 3 G multiply-adds per second of audio, on a device of 10 TFLOP/s.

    The head has 768 x 256 weights, or 0.00983 G multiply-adds per second of audio. A training reads 100,000 steps x
    2 x 16 utterances x 12.69 s = 40,608,000 s, at 2 x (3 + 3 x 0.00983) G operations a second: 24,604 s of work. 100
    evaluations on dev and one on test read 101 x 5.4 h = 1,963,440 s, at 2 x 3.00983 G operations: 1,182 s. 200,000
    batches cost 0.03 s each: 6,000 s. Together 31,786 s.
    """
    suite = suite_of("pr")
    (one,) = estimate(suite, planned_work(suite, {}), {"fbank": 3.0}, tflops=10.0)
    assert one.hours == pytest.approx(31_786 / 3600, rel=1e-4)
    assert (one.runs, one.steps) == (1, 100_000)
    assert one.gigabytes == pytest.approx(0.004719, abs=1e-6)  # two checkpoints of 196,608 weights x 12 bytes


def test_the_measured_trainings_are_estimated_within_an_eighth() -> None:
    """Four trainings of PR with 857 G multiply-adds for 224.86 s of audio took about 22 hours together on one A40.

    As above, at 4 TFLOP/s for each: 77,983 s of training, 3,751 s of evaluation and 6,000 s for batches.
    """
    suite = suite_of("pr")
    rate = sustained(None, on_gpu=True, devices=1, at_a_time=4)
    (one,) = estimate(suite, planned_work(suite, {}), {"fbank": 857 / 224.86}, rate)
    assert one.hours == pytest.approx(87_734 / 3600, rel=1e-4)
    assert one.hours == pytest.approx(22, rel=0.125)


def test_a_search_in_parts_costs_two_trainings_and_in_full_five() -> None:
    whole = suite_of("ks")
    parts, full = (replace(whole, search=True, halving=halving) for halving in (True, False))
    steps = [estimate(one, planned_work(one, {}), {"fbank": 1.0}, 1.0)[0].steps for one in (whole, parts, full)]
    assert steps == [200_000, 380_000, 1_000_000]


def test_crops_are_no_longer_than_the_configuration_allows_and_asr_batches_are_halved() -> None:
    experts = {name: suite_of(name).content(TASKS[name])["downstream_expert"] for name in ("sid", "asr")}
    assert TASKS["sid"].speech_of("official").utterance_s > 8 == longest_s(experts["sid"])
    assert TASKS["sid"].batch_utterances(experts["sid"]) == 8
    assert TASKS["asr"].batch_utterances(experts["asr"]) == 16


def test_every_task_has_an_estimate_for_each_preset() -> None:
    for preset in PRESETS:
        names = [task.name for task in choose_tasks(["all"], preset)]
        suite = replace(suite_of(*names), preset=preset, search=True, halving=preset != "small")
        found = estimate(suite, planned_work(suite, {"fbank": (0, 1)}), {"fbank": 1.0}, 1.0)
        assert [one.task for one in found] == names
        assert all(one.hours > 0 and one.runs > 1 for one in found)
        untrained = [name for name in names if name == "qbe"]
        assert [one.task for one in found if not one.steps] == untrained
        assert [one.task for one in found if not one.gigabytes] == untrained


def test_mini_judges_a_student_beside_its_references_in_about_a_day() -> None:
    """The default GenDistiller (4.0 G multiply-adds a second of audio), HuBERT Base (7.4) and FBANK, with searches."""
    gmacs = {"mine": 4.0, "teacher": 7.4, "fbank": 0.0}
    models = [BenchmarkedModel(name, name) for name in gmacs]
    suite = Suite(models, choose_tasks(["all"], "mini"), "mini", Path("out"), search=True, halving=True)
    hours = dict.fromkeys(gmacs, 0.0)
    for one in estimate(suite, planned_work(suite, {}), gmacs, GPU_TFLOPS):
        hours[one.group] += one.hours
    assert {name: round(value, 1) for name, value in hours.items()} == {"mine": 8.3, "teacher": 12.0, "fbank": 3.9}


def test_heads_are_as_large_as_s3prl_builds_them() -> None:
    """Matrices only; what the estimate leaves out is biases, and what ends in the classes of a task."""
    suite = suite_of("asr", "sd", "asv")
    code = (
        "from s3prl_gendistiller.host import mount\n"
        "mount.mount_hub()\n"
        "from s3prl.downstream.asr.model import RNNs\n"
        "from s3prl.downstream.diarization.model import Model as Diarization\n"
        "from s3prl.downstream.sv_voxceleb1.model import Model as Verification, AMSoftmaxLoss, UtteranceExtractor\n"
        "import s3prl.downstream.sv_voxceleb1.model as sv\n"
        "def count(*modules):\n"
        "    return sum(p.numel() for m in modules for n, p in m.named_parameters() if p.dim() > 1)\n"
        "rnns = dict(total_rate=-1, module='LSTM', bidirection=True, dim=[1024, 1024], dropout=[.2, .2],\n"
        "            layer_norm=[False] * 2, proj=[False] * 2, sample_rate=[1, 1], sample_style='concat')\n"
        "print(count(RNNs(1024, 32, 320, **rnns)) - 2048 * 32 + 768 * 1024)\n"
        "print(count(Diarization(768, 2, rnn_layers=1, hidden_size=512)) - 2 * 512)\n"
        "x = Verification(input_dim=512, agg_dim=1500, agg_module_name='SP', module_name='XVector',\n"
        "                 utterance_module_name='UtteranceExtractor',\n"
        "                 hparams={'agg_dim': 1500, 'dropout_p': 0., 'batch_norm': False})\n"
        "print(count(x, AMSoftmaxLoss(512, 1251)) + 768 * 512)\n"
    )
    answer = run_python("-c", code)
    assert answer.returncode == 0, answer.stderr[-2000:]
    counted = [int(line) for line in answer.stdout.splitlines()[-3:]]
    assert [task.head_parameters(suite.content(task)["downstream_expert"]) for task in suite.tasks] == counted


def test_the_next_free_device_takes_the_next_task() -> None:
    found = [
        Estimate("a", task, 1, 1, [length], False, 0.0)
        for task, length in (("x", 5.0), ("y", 3.0), ("z", 3.0), ("w", 1.0))
    ]
    assert [wall_hours(found, at_a_time) for at_a_time in (1, 2, 3, 9)] == [12, 6, 5, 5]


@pytest.mark.parametrize(("searched", "hours"), [(False, [9, 5, 5]), (True, [9, 7, 7])])
def test_seeds_run_side_by_side_after_the_search_if_there_is_one(searched: bool, hours: list[float]) -> None:
    one = Estimate("a", "x", 3, 3, [5.0, 2.0, 2.0], searched, 0.0)
    assert [wall_hours([one], at_a_time) for at_a_time in (1, 2, 3)] == hours
    assert one.hours == 9


def test_each_seed_has_its_hours_and_the_first_its_search() -> None:
    seeds = [BenchmarkedModel("mine.1", "fbank"), BenchmarkedModel("mine.2", "fbank")]
    suite = replace(suite_of("ks"), models=seeds, search=True)
    (one,) = estimate(suite, planned_work(suite, {}), {"mine.1": 1.0, "mine.2": 1.0}, 1.0)
    single = suite_of("ks")
    (alone,) = estimate(single, planned_work(single, {}), {"fbank": 1.0}, 1.0)
    assert one.searched and not alone.searched
    assert one.seeds[0] > 4 * one.seeds[1] and one.seeds[1:] == pytest.approx(alone.seeds)


def test_devices_add_up_and_runs_on_one_share_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    assert sustained(None, True, devices=2, at_a_time=2) == GPU_TFLOPS
    assert sustained(20.0, True, devices=1, at_a_time=2) == 10.0
    assert sustained(None, False, devices=1, at_a_time=4) == pytest.approx(8 * CORE_TFLOPS / 4)

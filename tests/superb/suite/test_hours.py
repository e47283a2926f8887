"""The plan's numbers, against s3prl's own heads and cases worked by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from s3prl_gendistiller.superb.models import Student
from s3prl_gendistiller.superb.suite import hours
from s3prl_gendistiller.superb.suite.agenda import planned_work
from s3prl_gendistiller.superb.suite.hours import Estimate, estimate, sustained, wall_hours
from s3prl_gendistiller.superb.suite.suite import Suite
from s3prl_gendistiller.superb.tasks import PRESETS, TASKS
from tests.conftest import run_python

FBANK = Student("fbank", "fbank")


def suite_of(*tasks: str, **changes: object) -> Suite:
    suite = Suite([FBANK], [TASKS[name] for name in tasks], "official", Path("out"))
    return replace(suite, **changes)


def test_an_hour_is_counted_by_hand() -> None:
    """PR: 100,000 steps of 2 x 16 utterances of 12.69 s, 100 times 5.4 h of dev, then 5.4 h of test."""
    suite = suite_of("pr")
    (one,) = estimate(suite, planned_work(suite, {}), {"fbank": 3.0}, tflops=10.0)
    head = 50 * 768 * 256
    train = 100_000 * 2 * 16 * 100.6 * 3600 / 28_539 * (3e9 + 3 * head)
    evaluated = 101 * 5.4 * 3600 * (3e9 + head)
    assert one.hours == pytest.approx(((train + evaluated) * 2 / 10e12 + 200_000 * hours.BATCH_S) / 3600)
    assert (one.runs, one.steps) == (1, 100_000)
    assert one.gigabytes == pytest.approx(2 * 12 * 768 * 256 / 1e9)


def test_the_one_anchor_is_met_within_a_fifth() -> None:
    """Four trainings of PR side by side on one A40: about 22 hours."""
    suite = suite_of("pr")
    (one,) = estimate(suite, planned_work(suite, {}), {"fbank": 857 / 224.86}, tflops=hours.GPU_TFLOPS / 4)
    assert one.hours == pytest.approx(22, rel=0.2)


def test_a_search_in_parts_costs_two_trainings_and_in_full_five() -> None:
    whole = suite_of("ks")
    parts, full = (replace(whole, search=True, halving=halving) for halving in (True, False))
    steps = [estimate(one, planned_work(one, {}), {"fbank": 1.0}, 1.0)[0].steps for one in (whole, parts, full)]
    assert steps == [200_000, 380_000, 1_000_000]


def test_crops_are_no_longer_than_the_configuration_allows_and_asr_batches_are_halved() -> None:
    experts = {name: suite_of(name).content(TASKS[name])["downstream_expert"] for name in ("sid", "asr")}
    assert TASKS["sid"].speech_of("official").utterance_s > 8 == hours._longest_s(experts["sid"])
    assert TASKS["sid"].batch_utterances(experts["sid"]) == 8
    assert TASKS["asr"].batch_utterances(experts["asr"]) == 16


def test_every_task_has_an_estimate_for_each_preset() -> None:
    for preset in PRESETS:
        suite = replace(suite_of(*TASKS), preset=preset, search=True, halving=preset == "official")
        found = estimate(suite, planned_work(suite, {"fbank": (0, 1)}), {"fbank": 1.0}, 1.0)
        assert [one.task for one in found] == list(TASKS)
        assert all(one.hours > 0 and one.runs > 1 for one in found)
        assert (
            [one.task for one in found if not one.steps] == [one.task for one in found if not one.gigabytes] == ["qbe"]
        )


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
    seeds = [Student("mine.1", "fbank"), Student("mine.2", "fbank")]
    suite = replace(suite_of("ks"), students=seeds, search=True)
    (one,) = estimate(suite, planned_work(suite, {}), {"mine.1": 1.0, "mine.2": 1.0}, 1.0)
    single = suite_of("ks")
    (alone,) = estimate(single, planned_work(single, {}), {"fbank": 1.0}, 1.0)
    assert one.searched and not alone.searched
    assert one.seeds[0] > 4 * one.seeds[1] and one.seeds[1:] == pytest.approx(alone.seeds)


def test_devices_add_up_and_runs_on_one_share_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hours.os, "cpu_count", lambda: 8)
    assert sustained(None, True, devices=2, at_a_time=2) == hours.GPU_TFLOPS
    assert sustained(20.0, True, devices=1, at_a_time=2) == 10.0
    assert sustained(None, False, devices=1, at_a_time=4) == pytest.approx(8 * hours.CORE_TFLOPS / 4)

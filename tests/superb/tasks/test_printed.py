"""The numbers that s3prl prints, as it prints them."""

from __future__ import annotations

from pathlib import Path

import pytest

from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.formats.printed import printed_values
from s3prl_gendistiller.superb.tasks import TASKS
from s3prl_gendistiller.superb.tasks.printed import best_on_dev, evaluated

PRINTED = {
    "pr": ("test loss: 2.1\ntest per: 0.25\n", {"per": 25.0}),
    "asr": ("test-clean loss: 5.3\ntest-clean uer: 31.5\ntest-clean wer: 80.25\n", {"wer": 80.25, "uer": 31.5}),
    "ks": ("test acc: 0.9\n", {"acc": 90.0}),
    "sid": ("test acc: 0.5\n", {"acc": 50.0}),
    "asv": ("sv-voxceleb1/test-EER: 0.125\n", {"eer": 12.5}),
    "ic": ("test acc: 1.0\n", {"acc": 100.0}),
    "sf": ("test slot_type_f1: 0.5\ntest slot_value_cer: 1e-1\ntest cer: 0.9\n", {"f1": 50.0, "cer": 10.0}),
    "er": ("test acc: 0.25\n", {"acc": 25.0}),
}


@pytest.mark.parametrize("name", PRINTED)
def test_what_s3prl_prints_is_read_in_the_units_of_the_table(name: str) -> None:
    text, expected = PRINTED[name]
    task = TASKS[name]
    bar = "test: 100%|██████████| 24/24 [00:01<00:00, 19.9it/s]\n"
    assert evaluated(task, Path(), bar + text, {}, task.test) == pytest.approx(expected)


def test_other_splits_and_longer_names_are_not_taken() -> None:
    text = "dev acc: 0.1\ntrain acc: 0.2\ntest wer: 0.3\ntest slot_value_wer: 0.4\n"
    assert printed_values(text, "test", "acc") == []
    assert printed_values(text, "test", "wer") == [0.3]
    with pytest.raises(UserError, match="ks: the evaluation printed no test acc"):
        evaluated(TASKS["ks"], Path(), text, {}, "test")


def test_the_best_on_dev_of_a_training_goes_by_the_metrics_direction() -> None:
    assert best_on_dev(TASKS["ks"], "dev acc: 0.1\ndev acc: 0.75\ndev acc: 0.5\n") == pytest.approx(75)
    assert best_on_dev(TASKS["pr"], "dev per: 0.75\ndev per: 0.5\n") == pytest.approx(50)
    assert best_on_dev(TASKS["asr"], "dev-clean wer: 90.5\n") == pytest.approx(90.5)
    assert best_on_dev(TASKS["asv"], "sv-voxceleb1/train-loss: 3.0\n") is None


def test_diarization_is_chosen_on_dev_as_s3prl_does_by_the_frames_that_are_right() -> None:
    text = "mode dev acc 0.8 der 0.3\nmode train acc 0.99 der 0.1\nmode dev acc 0.9 der 0.4\n"
    assert best_on_dev(TASKS["sd"], text) == pytest.approx(90)

from __future__ import annotations

import importlib.util

import pytest

from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.superb import tasks
from s3prl_gendistiller.superb.tasks import PRESETS, TASKS, choose_tasks, require_packages


def test_there_are_superbs_ten() -> None:
    assert list(TASKS) == ["pr", "asr", "ks", "qbe", "sid", "asv", "sd", "ic", "sf", "er"]
    assert choose_tasks(["all"]) == list(TASKS.values())


def test_tasks_are_found_in_any_case_and_once() -> None:
    assert [task.name for task in choose_tasks(["KS", "er", "ks"])] == ["ks", "er"]


@pytest.mark.parametrize(
    ("given", "close"), [("kss", "ks"), ("speech_command", "ks"), ("emotion", "er"), ("diarisation", "sd")]
)
def test_an_unknown_task_is_refused_with_a_suggestion(given: str, close: str) -> None:
    with pytest.raises(UserError, match=rf"found '{given}', expected pr, asr, .* or all; did you mean {close} \("):
        choose_tasks([given])


def test_what_resembles_nothing_gets_no_suggestion() -> None:
    with pytest.raises(UserError, match="or all$"):
        choose_tasks(["xyzzy"])


def test_missing_packages_name_the_extras(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name in ("h5py", "dtw") else importlib.machinery.ModuleSpec
    )
    require_packages([TASKS["ks"]])
    with pytest.raises(
        UserError, match=r'qbe needs dtw; sd needs h5py; install: pip install "s3prl-gendistiller\[qbe,sd\]"'
    ):
        require_packages([TASKS["ks"], TASKS["qbe"], TASKS["sd"]])


def test_every_task_has_a_configuration_and_learning_rates_for_each_preset() -> None:
    for task in TASKS.values():
        assert len({task.config(preset) for preset in PRESETS}) == 2
        assert all(len(task.learning_rates(preset)) > 1 for preset in PRESETS)
    assert tasks.TASKS["er"].folds == ("fold1", "fold2", "fold3", "fold4", "fold5")

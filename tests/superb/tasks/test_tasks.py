from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.schema import read_layered_yaml
from s3prl_gendistiller.shipped import shipped_folder
from s3prl_gendistiller.superb import tasks
from s3prl_gendistiller.superb.tasks import PRESETS, TASKS, choose_tasks, require_packages


def test_a_file_with_a_task_is_in_the_table_under_its_own_name() -> None:
    files = Path(tasks.__file__).parent.glob("*.py")
    assert sorted(TASKS) == sorted(file.stem for file in files if "\nTASK = " in file.read_text())
    assert all(name == task.name for name, task in TASKS.items())
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


@pytest.mark.parametrize(
    ("name", "preset"), [(task.name, preset) for task in TASKS.values() for preset in task.presets]
)
def test_a_configuration_is_of_one_task_whose_head_it_describes(name: str, preset: str) -> None:
    task = TASKS[name]
    config = read_layered_yaml(shipped_folder("downstream_runs") / task.config(preset))["downstream_expert"]
    same = [other for other in TASKS.values() if other.downstream == task.downstream]
    assert [other.name for other in same if other.is_configured_by(config)] == [name]
    if task.trained:
        assert task.head_parameters(config) > 1_000 and task.batch_utterances(config) > 0
        assert len(task.learning_rates(preset)) > 1


@pytest.mark.parametrize("name", TASKS)
def test_presets_have_configurations_of_their_own(name: str) -> None:
    presets = TASKS[name].presets
    assert {"small", "official"} <= {*presets} <= {*PRESETS}
    assert len({TASKS[name].config(preset) for preset in presets}) == len(presets)


def test_all_tasks_of_a_preset_are_its_own_and_another_is_refused_by_name() -> None:
    assert [task.name for task in choose_tasks(["all"], "mini")] == ["pr", "asr", "sid", "sd"]
    assert [task.name for task in choose_tasks(["SD", "all"], "mini")] == ["sd", "pr", "asr", "sid"]
    with pytest.raises(
        UserError, match="--tasks: found ks, which the preset mini lacks; it has pr, asr, sid, sd; leave it out"
    ):
        choose_tasks(["pr", "ks"], "mini")


def test_emotion_has_five_folds() -> None:
    assert TASKS["er"].folds == ("fold1", "fold2", "fold3", "fold4", "fold5")


def test_every_fold_is_run_and_submitted_and_others_only_once() -> None:
    for task in TASKS.values():
        submitted = [one for one in task.submissions if not one.optional]
        assert len(submitted) == (len(task.folds) or 1)
        assert [f"fold{one.fold}" for one in submitted if one.fold] == list(task.folds)


def test_the_leaderboard_counts_the_first_metric_of_every_task() -> None:
    assert all(task.counted[:1] == (task.metrics[0].key,) for task in TASKS.values())

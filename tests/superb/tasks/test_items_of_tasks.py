"""Items of each task, from folders as s3prl's experts leave them."""

from __future__ import annotations

from pathlib import Path

import pytest

from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.superb.entry.archive import known_submissions
from s3prl_gendistiller.superb.tasks.statistics import value
from tests.superb.experiments import FLAGS, expected, expert_config, write_experiment


@pytest.mark.parametrize("flag", FLAGS)
def test_each_item_of_the_test_set_is_there_once(flag: str, ten: Path, tmp_path: Path) -> None:
    task, _ = known_submissions()[flag]
    config = expert_config(ten, flag)
    ids = list(expected(flag, {"downstream_expert": config}).ids)
    items = task.items(write_experiment(tmp_path / "run", flag, ids), config)
    if flag == "qbe":  # queries that occur nowhere do not count
        assert set(items.names) <= set(ids) and items.unit_count == len({name.split()[0] for name in items.names})
    else:
        assert sorted(items.names) == sorted(ids)
    made = {key: value(statistic, items) for key, statistic in task.statistics.items()}
    if flag in ("sd", "qbe"):  # the task's own number of the same files
        assert made == pytest.approx(task.values(tmp_path / "run", "", config, task.test), abs=1e-6)
    elif flag in ("pr", "asr_no_lm"):
        assert made[task.metrics[0].key] == 50.0  # one of two signs is wrong
    elif flag == "sv":
        assert made == {"eer": pytest.approx(50.0)}  # all trials have one score
    elif flag != "sf":
        assert made == {"acc": 0.0}


@pytest.mark.parametrize("flag", ["sv", "ks", "sd", "qbe"])
def test_predictions_that_are_not_there_are_named(flag: str, ten: Path, tmp_path: Path) -> None:
    task, _ = known_submissions()[flag]
    with pytest.raises((UserError, OSError), match=r"no such file|no prediction|expected the list"):
        task.items(tmp_path, expert_config(ten, flag))


def test_trials_of_another_list_are_refused(ten: Path, tmp_path: Path) -> None:
    task, _ = known_submissions()["sv"]
    config = expert_config(ten, "sv")
    ids = list(expected("sv", {"downstream_expert": config}).ids)[:-1]
    with pytest.raises(UserError, match="found other trials than those of"):
        task.items(write_experiment(tmp_path / "run", "sv", ids), config)

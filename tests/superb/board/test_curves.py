"""Curves of a board: what a search tried, and the losses of the runs beside the checkpoints."""

from __future__ import annotations

from pathlib import Path

from s3prl_gendistiller.superb.board.curves import POINTS, searches, trainings
from s3prl_gendistiller.superb.board.suites import read_suites
from tests.superb.board.made import student, suite, with_everything


def test_a_search_has_a_point_for_each_rate_and_number_of_steps(tmp_path: Path) -> None:
    found = searches(read_suites(with_everything(tmp_path)))
    assert {one["name"] for one in found} == {"stop1", "stop2", "stopall"}
    assert (found[0]["chosen"], found[0]["axis"], found[0]["task"]) == (0.003, "learning rate", "KS")
    assert {"rate": 0.01, "value": 52.0, "steps": "400 steps"} in found[0]["points"] and len(found[0]["points"]) == 4


def test_a_search_to_the_end_leaves_out_what_diverged_and_qbe_has_layers(tmp_path: Path) -> None:
    outcomes = {
        "ks": {"lr": 0.01, "dev": {"0.1": None, "0.01": 90.0, "0.001": 80.0}},
        "qbe": {"layer": 2, "dev": {"0": 1.0, "1": 2.0, "2": 3.0}},
        "sid": {"lr": 0.01, "dev": {"0.01": 90.0}},
    }
    values = {"ks": {"acc": 90.0}, "qbe": {"mtwv": 3.0}, "sid": {"acc": 1.0}}
    found = searches(read_suites([suite(tmp_path / "s", {"mine": student(values, of_tasks=outcomes)})]))
    by_task = {one["task"]: one for one in found}
    assert by_task.keys() == {"KS", "QBE"}
    assert [point["rate"] for point in by_task["KS"]["points"]] == [0.01, 0.001]
    assert (by_task["QBE"]["axis"], by_task["QBE"]["chosen"]) == ("layer", 2)


def test_a_run_beside_a_checkpoint_gives_a_curve_once_and_a_broken_one_is_named(tmp_path: Path) -> None:
    places = with_everything(tmp_path)
    found, problems = trainings(read_suites(places))
    assert [(one["name"], problems) for one in found] == [("stop1", [])]
    points = found[0]["points"]
    assert len(points) <= 2 * (POINTS + 1) and {point["speech"] for point in points} == {
        "training files",
        "held-out files",
    }
    assert points[-1] == {"step": 499, "loss": 1 / 499, "speech": "held-out files"}
    (tmp_path / "run" / "metrics.jsonl").write_text("[1]\n")
    found, problems = trainings(read_suites(places))
    assert not found and "metrics.jsonl line 1" in problems[0]

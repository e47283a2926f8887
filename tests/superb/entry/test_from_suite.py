"""A finished suite: which folders its numbers come from, and whose they are."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.superb.entry.from_suite import read_finished
from s3prl_gendistiller.superb.models import BenchmarkedModel
from s3prl_gendistiller.superb.tasks import TASKS
from tests.host.test_checkpoint import save_student


def write_suite(root: Path, checkpoint: Path, tasks: dict[str, dict[str, Path]], name: str = "mine") -> Path:
    """What `gendistiller superb` leaves behind.

    Args:
        tasks: task -> folder's name -> an experiment folder that is moved there.
    """
    student = BenchmarkedModel(name, "gendistiller_local", checkpoint)
    outcomes = {}
    for task, folders in tasks.items():
        runs = [root / "runs" / name / folder for folder in folders]
        for target, source in zip(runs, folders.values(), strict=True):
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(source, target)
            (target / "superb.json").write_text(json.dumps({"settings": {"student": student.fingerprint()}}))
        outcomes[task] = {"values": dict.fromkeys(TASKS[task].counted, 50.0), "folders": list(map(str, runs))}
    entry = {"upstream": student.upstream, "checkpoint": str(checkpoint), "steps": None, "score": None}
    students = {name: {**entry, "tasks": outcomes}}
    content = {"preset": "small", "features": "weighted", "students": students}
    (root / "results.json").write_text(json.dumps(content))
    return root


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    checkpoint = save_student(tmp_path / "states-3.ckpt")
    folders = {name: tmp_path / name for name in ("ks", "asv", *(f"er-fold{fold}" for fold in range(1, 6)))}
    for name, folder in folders.items():
        folder.mkdir()
        (folder / f"test_{name[3:]}_predict.txt").write_text("x neu\n")
    er = {name: folders[name] for name in folders if name.startswith("er")}
    tasks = {"ks": {"ks": folders["ks"]}, "asv": {"asv-lr0.001": folders["asv"]}, "er": er}
    return write_suite(tmp_path / "suite", checkpoint, tasks)


def test_folders_are_found_by_the_flags_of_s3prls_packer(suite: Path) -> None:
    finished = read_finished(suite, None)
    folders, problems = finished.submitted(["ks", "asv", "er"])
    runs = suite / "runs/mine"
    assert problems == [] and folders["ks"] == runs / "ks" and folders["sv"] == runs / "asv-lr0.001"
    assert {flag: folder.name for flag, folder in folders.items() if flag.startswith("er")} == {
        f"er_fold{fold}": f"er-fold{fold}" for fold in range(1, 6)
    }
    (runs / "er-fold2/test_fold2_predict.txt").unlink()
    assert "er: fold 2 is missing: no test_fold2_predict.txt in" in finished.submitted(["er"])[1][0]


def test_results_of_the_preset_mini_are_no_entry(suite: Path) -> None:
    finished = replace(read_finished(suite, None), preset="mini")
    with pytest.raises(UserError, match="found results of the preset mini, expected those of .*--preset official"):
        finished.submitted(["ks"])


def test_a_suite_that_was_moved_is_read_where_it_is(suite: Path) -> None:
    moved = suite.rename(suite.with_name("elsewhere"))
    assert read_finished(moved / "results.json", "mine").folders["ks"] == [moved / "runs/mine/ks"]


def test_predictions_of_another_checkpoint_than_the_scores_are_seen(suite: Path) -> None:
    run = suite / "runs/mine/asv-lr0.001"
    for step in (2, 4):
        torch.save({"Step": step}, run / f"states-{step}.ckpt")
    finished = read_finished(suite, "mine")
    assert "tested 2 checkpoints, and its predictions are of the last" in finished.submitted(["asv"])[1][0]
    assert finished.submitted(["ks"])[1] == []
    record = json.loads((run / "superb.json").read_text())
    tested = {"values": {"eer": 50.0}, "seconds": 1.0, "fallback": None}
    (run / "superb.json").write_text(json.dumps({**record, "tested": {**tested, "checkpoint": "states-2.ckpt"}}))
    assert finished.submitted(["asv"])[1] == []


def test_another_student_than_the_one_that_was_tested_is_refused(suite: Path) -> None:
    finished = read_finished(suite, "mine")
    finished.check_student()
    stopped = replace(finished, student=replace(finished.student, steps=1))
    with pytest.raises(UserError, match=r"was made of another student \(found .* steps 1, expected"):
        stopped.check_student()
    torch.manual_seed(5)
    save_student(suite.parent / "states-3.ckpt")
    with pytest.raises(UserError, match="name the checkpoint and the steps that were benchmarked"):
        finished.check_student()


def test_results_that_are_not_there_are_named(suite: Path) -> None:
    with pytest.raises(UserError, match="--student: found min, which is not there.*did you mean mine"):
        read_finished(suite, "min")
    with pytest.raises(UserError, match="no such file; expected the results.json"):
        read_finished(suite / "runs", None)
    content = json.loads((suite / "results.json").read_text())
    content["students"]["second"] = content["students"]["mine"]
    (suite / "results.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match="--student: found none given, expected one of mine, second"):
        read_finished(suite, None)
    (suite / "results.json").write_text('{"students": {"mine": {}}}')
    with pytest.raises(UserError, match="not readable as results"):
        read_finished(suite, None)

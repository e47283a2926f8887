"""The flow of `make demo`, on a corpus of noise and a tiny teacher."""

from __future__ import annotations

from pathlib import Path

import pytest

from s3prl_gendistiller.cli import main
from s3prl_gendistiller.cli.experiment import Contender, Experiment, Recipe
from s3prl_gendistiller.host.students import build_student
from tests.bench import Bench


def test_a_contender_is_distilled_recognised_and_listed(bench: Bench, tmp_path: Path) -> None:
    datarc = {"sets": ["train-clean-100"], "train_batch_size": 4, "num_workers": 0, "crop_samples": 8_000}
    recipe = Recipe(bench.data, bench.teacher, (1, 3), datarc, steps=24, lr=1e-3, asr_steps=51)
    plain = Contender("gendistiller", {"student": {"conv_pos": 8, "conv_pos_groups": 2, "history_input": "add"}})
    experiment = Experiment(recipe, {"plain": plain}, tmp_path / "runs")
    experiment.distil("plain")
    errors = experiment.recognise("plain")
    assert all(0 <= error <= 200 for error in errors)
    header, _, row = experiment.table({"plain": errors}).splitlines()
    assert "held-out L1, layers 1 3" in header
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    parameters = sum(parameter.numel() for parameter in build_student(tmp_path / "runs/plain_model.yaml").parameters())
    assert cells[:2] == ["plain", f"{parameters:,}"]
    l1, cosine = ([float(value) for value in cells[column].split()] for column in (2, 3))
    assert len(l1) == 2 and all(0 < value < 3 for value in l1) and all(-1 <= value <= 1 for value in cosine)
    assert float(cells[4]) > 0 and float(cells[6]) == round(errors[0], 1)
    assert "run_pretrain" not in (tmp_path / "runs/plain_model.yaml").read_text()
    assert "Save the checkpoint" in experiment.log.read_text()


def test_too_short_a_demo_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--out", str(tmp_path / "x"), "--steps", "3"]) == 2
    assert "--steps: found 3, expected at least 51" in capsys.readouterr().err
    assert not (tmp_path / "x").exists()

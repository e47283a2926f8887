"""`gendistiller superb --preset mini`: its plan, and one of its tasks for real through s3prl."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from s3prl_gendistiller.cli import main
from tests.cli.test_superb import SHORT, counted, data, inside, refused, student, superb, total_hours

__all__ = ["counted", "data", "inside", "student"]  # fixtures


def test_the_mini_plan_has_its_tasks_fits_small_gpus_and_refuses_others(
    inside: Path, student: Path, counted: None, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["--student", f"mine={student}", "--preset", "mini", "--dry-run"]
    assert main(["superb", *command, "--hardware", "8gb"]) == 0
    lines = capsys.readouterr().out.splitlines()
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines if line.startswith("# | mine ")]
    assert [row[1] for row in rows] == ["pr", "asr", "sid", "sd"] and int(rows[0][2]) > 4  # rates are searched
    assert 4 < float(total_hours(lines)[0]) < 12 and "16 TFLOP/s for each run, on a GPU" in "".join(lines)
    files = {part.rpartition("/")[2] for line in lines for part in line.split() if part.endswith(".yaml")}
    assert files == {"libriphone_mini_8gb.yaml", "mini_8gb.yaml", "mini.yaml"}
    assert "found ks, which the preset mini lacks; it has pr, asr, sid, sd" in refused(
        capsys, *command, "--tasks", "ks"
    )


def test_a_mini_task_runs_for_real(data: Path, tmp_path: Path) -> None:
    """Its own configuration and head, for a few steps of few utterances."""
    fewer = ",,config.downstream_expert.datarc.num_workers=0,,config.downstream_expert.datarc.train_batch_size=2"
    command = ["--preset", "mini", "--student", "fbank", "--tasks", "sid", "--no-lr-search", "--out", "suite"]
    answer = superb(*command, "--jobs", "1", "--devices", "cpu", "-o", SHORT + fewer, cwd=tmp_path, data=data)
    assert answer.returncode == 0, answer.stderr[-3000:]
    assert "# | fbank   | sid  |" in answer.stdout  # the plan comes first
    content = json.loads((tmp_path / "suite/results.json").read_text())
    assert content["preset"] == "mini" and set(content["students"]["fbank"]["tasks"]) == {"sid"}
    assert content["students"]["fbank"]["score"] is None
    assert "Preset mini: a tenth of SUPERB's steps" in (tmp_path / "suite/table.md").read_text()
    config = (tmp_path / "suite/runs/fbank/sid/config_resolved.yaml").read_text()
    assert "lr: 0.001" in config and "max_timestep: 128000" in config

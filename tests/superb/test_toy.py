"""A new task needs its own file and its configurations, and works in every command."""

from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path

import pytest
import soundfile

from s3prl_gendistiller.cli import main
from s3prl_gendistiller.superb.tasks import TASKS
from tests.superb.standin import Host
from tests.superb.toy import CONFIG, toy

Printed = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def place(tmp_path: Path, host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """The task with its corpus and configurations, and the suite's stand-ins for what starts other processes."""
    data, configs = tmp_path / "data", tmp_path / "configs"
    for name in ("train/a", "train/b", "train/c", "test/d", "test/e"):
        path = data / "Toys" / f"{name}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, [0.0] * 16_000, 16_000)
    (data / "Toys/labels").write_text("a 1\nb 2\nc 3\nd 4\ne 5\n")
    configs.mkdir()
    for name in ("small", "config"):
        (configs / f"{name}.yaml").write_text(CONFIG)
    monkeypatch.setitem(TASKS, "toy", toy(configs))
    monkeypatch.setenv("SUPERB_DATA", str(data))
    monkeypatch.chdir(tmp_path)
    host.replace_processes(monkeypatch, size=(1_000_000, 3.5))


def cells(text: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("|")]


def test_a_dry_run_plans_it(capsys: Printed) -> None:
    command = ["superb", "--student", "fbank", "--tasks", "toy", "--preset", "official", "--tflops", "0.01"]
    assert main([*command, "--dry-run"]) == 0
    printed = capsys.readouterr().out
    (row,) = [line for line in printed.splitlines() if "| fbank" in line]
    assert row.split("|")[2].strip() == "toy" and row.split("|")[5].strip()[-2:] == " h"
    commands = [line for line in printed.splitlines() if line.startswith("run_downstream.py")]
    assert commands and all("-d speech_commands" in line for line in commands if "-m train" in line)
    assert "# toy reads ${SUPERB_DATA}/Toys" in printed


def test_its_data_are_checked(capsys: Printed) -> None:
    assert main(["data", "check", "--tasks", "toy", "--no-progress"]) == 0
    assert cells(capsys.readouterr().out)[2] == ["TOY", "Toys", "complete", "5", "0.00", "5 files", ""]
    Path("data/Toys/test/e.wav").unlink()
    Path("data/Toys/labels").write_text("a 1\n")
    assert main(["data", "check", "--tasks", "toy", "--no-progress"]) == 2
    printed = capsys.readouterr().out
    assert "get the rest of the nursery" in printed and "toy: test: 1 of 2 files" in printed
    assert "labels: no line for" in printed


def test_it_is_run_scored_and_submitted(capsys: Printed) -> None:
    assert main(["superb", "--student", "fbank", "--tasks", "toy", "ks", "--out", "suite"]) == 2  # no corpus of KS
    assert main(["superb", "--student", "fbank", "--tasks", "toy", "--out", "suite"]) == 0
    tasks = json.loads(Path("suite/results.json").read_text())["students"]["fbank"]["tasks"]
    assert tasks["toy"]["values"] == {"acc": 50.0}
    capsys.readouterr()
    assert main(["score", "suite"]) == 0
    header, _, mine, *published = cells(capsys.readouterr().out)
    assert header[-1] == "TOY" and mine[0] == "fbank" and mine[2] == ""
    assert "941" in {row[2] for row in published}  # the leaderboard's score does without it
    predictions = Path("suite/runs/fbank/toy/test_predict.txt")
    config = Path("configs/small.yaml").read_text().replace("${SUPERB_DATA}", os.environ["SUPERB_DATA"])
    (predictions.parent / "config_resolved.yaml").write_text(config)
    predictions.write_text("d = 4\n")
    assert main(["submit", "suite", "--student", "fbank"]) == 2
    assert "1 predictions, expected 2 by" in capsys.readouterr().err
    predictions.write_text("d = 4\ne = 5\n")
    assert main(["submit", "suite", "--student", "fbank"]) == 0
    assert main(["submit", "--toy", str(predictions.parent), "--out", "again"]) == 0
    for folder in ("result/submission", "again"):
        with zipfile.ZipFile(Path(folder) / "predict.zip") as archive:
            assert archive.read("predict/toy_public/toys.txt") == b"d = 4\ne = 5\n"

"""The kit's parts: time limits, faults, and what is written after each part."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from kit.parts import GRACE, LOG, PASSED, Part, Results, outcomes, run_part, start_process, stop
from kit.training import Stages, await_prepared
from tests.conftest import ROOT, run_python

CHILD = """
import signal, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
print(child.pid, flush=True)
try:
    time.sleep(60)
except KeyboardInterrupt:
    print("reported", flush=True)
"""


def part(name: str, code: str, folder: Path) -> Part:
    return Part(name, 1.0, ["-c", code], folder, folder)


@pytest.fixture
def results(tmp_path: Path) -> Results:
    return Results(tmp_path, {"device": "cpu"}, 0.0)


def test_each_part_leaves_its_row_and_a_failed_one_the_end_of_its_output(results: Results, tmp_path: Path) -> None:
    (tmp_path / "good.json").write_text('{"run": {"steps per second": 2.5, "all losses finite": true}}')
    run_part(part("good", "print('fine')", tmp_path), 30, results)
    written = json.loads((tmp_path / "results.json").read_text())["parts"]
    assert written["good"]["status"] == PASSED and "tail" not in written["good"] and results.all_passed
    run_part(part("bad", "import sys; print('the reason'); sys.exit(3)", tmp_path), 30, results)
    row = json.loads((tmp_path / "results.json").read_text())["parts"]["bad"]
    assert row["status"] == "failed with status 3" and row["tail"] == ["the reason"] and not results.all_passed
    text = (tmp_path / "results.md").read_text()
    assert "| run | steps per second | 2.5 |" in text and "the reason" in text and "| bad | failed" in text
    assert (tmp_path / LOG).read_text() == "fine\nthe reason\n"


@pytest.mark.parametrize("handler", [signal.default_int_handler, signal.SIG_IGN], ids=["", "in_the_background"])
def test_a_part_ends_at_its_limit_with_all_that_it_has_started(handler: Any, results: Results, tmp_path: Path) -> None:
    began = time.monotonic()
    before = signal.signal(signal.SIGINT, handler)
    try:
        run_part(part("slow", CHILD, tmp_path), GRACE + 2, results)
    finally:
        signal.signal(signal.SIGINT, before)
    assert time.monotonic() - began < GRACE + 2
    row = results.rows["slow"]
    assert row["status"] == "ended at its time limit" and row["tail"][-1] == "reported"
    child = Path("/proc", row["tail"][0])
    deadline = time.monotonic() + 10
    while child.is_dir() and (child / "stat").read_text().split()[2] != "Z":  # a zombie, where nobody collects it
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_process_that_hears_no_signal_is_killed(tmp_path: Path) -> None:
    deaf = "import signal, time\nfor n in (2, 15): signal.signal(n, signal.SIG_IGN)\nprint('deaf', flush=True)\n"
    process = start_process(["-c", f"{deaf}time.sleep(60)"], tmp_path, tmp_path / LOG, {})
    while not (tmp_path / LOG).read_text():
        time.sleep(0.05)
    stop(process)
    assert process.returncode == -9


def test_outcomes_are_read_with_and_without_worker_processes() -> None:
    lines = [
        "tests/gpu/test_a.py::test_one[x-y] PASSED                     [ 10%]",
        "tests/gpu/test_a.py::test_two FAILED [ 20%]",
        "[gw1] [ 30%] PASSED tests/gpu/test_b.py::test_three[] ",
        "[gw0] [ 40%] ERROR tests/gpu/test_b.py::test_four ",
        "FAILED tests/gpu/test_a.py::test_two - assert False",
        "tests/gpu/test_b.py::test_five ",
    ]
    assert outcomes(lines) == {
        "tests/gpu/test_a.py::test_one[x-y]": "PASSED",
        "tests/gpu/test_a.py::test_two": "FAILED",
        "tests/gpu/test_b.py::test_three[]": "PASSED",
        "tests/gpu/test_b.py::test_four": "ERROR",
    }


def test_the_figures_of_a_stage_are_those_of_its_own_steps(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    seconds = [1.0, 0.5, 0.25, 0.5]
    lines = [
        {"split": "train", "step": 10 * number, "loss": 1 / number, "seconds_per_batch": taken}
        for number, taken in enumerate(seconds, start=1)
    ]
    text = "\n".join(map(json.dumps, [*lines, {"split": "valid", "step": 40, "loss": 0.5}]))
    (tmp_path / "run" / "metrics.jsonl").write_text(text + '\n{"split": "tra')
    stages, row = Stages(tmp_path, tmp_path / "training.json", "cpu", 40, 10), {}
    stages.found["resumed"] = row
    stages.note(row, stages.entries("run")[1:], 10, time.monotonic() - 20)
    assert row["first step"] == 11 and row["last step"] == 40 and row["all losses finite"]
    assert row["steps per second"] == 1 / 0.375 and row["last loss"] == 0.25
    assert row["seconds to the first step"] == pytest.approx(15, abs=0.5)  # 20 s less 10 steps of .5 s
    assert json.loads((tmp_path / "training.json").read_text())["resumed"]["entries"] == 3
    assert stages.losses("run", "valid") == {40: 0.5} and stages.last_step("run") == 40


def test_a_training_without_speech_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kit.training.WAIT", 0.0)
    (tmp_path / "prepare.log").write_text("no room on the disk")
    with pytest.raises(SystemExit, match="no speech and teacher in .*\nno room on the disk"):
        await_prepared(tmp_path)


def test_speech_teacher_and_recipe_are_written(tmp_path: Path) -> None:
    done = run_python(
        "-m", "kit.prepare", "--work", tmp_path, "--small", env={"PYTHONPATH": f"{ROOT}:{ROOT / 'benchmarks'}"}
    )
    assert done.returncode == 0, done.stderr
    assert {path.name for path in tmp_path.iterdir()} == {
        "LibriSpeech",
        "model.yaml",
        "runner.yaml",
        "ready",
        "teacher",
    }
    rows = (tmp_path / "LibriSpeech/len_for_bucket/train-clean-100.csv").read_text().splitlines()
    assert len(rows) == 25 and (tmp_path / "teacher/model.safetensors").is_file()

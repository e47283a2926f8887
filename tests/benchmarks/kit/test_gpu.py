"""The kit as one command: how the parts share the time, and which tests a machine without a GPU leaves out."""

from __future__ import annotations

import argparse
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

import gpu
from kit.parts import PASSED, Part, Results
from tests import conftest


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """Limits of the parts in a kit whose parts take no time of the real clock, and 30 s of the kit's clock."""
    limits: dict[str, float] = {}
    clock = [1000.0]

    def run_part(part: Part, limit: float, results: Results) -> None:
        limits[part.name] = limit
        clock[0] += 30
        results.add(part, PASSED, 30.0, limit)

    monkeypatch.setenv("KIT_STARTED", "1000")
    monkeypatch.setattr(gpu, "run_part", run_part)
    monkeypatch.setattr(gpu, "start_process", lambda *_: SimpleNamespace(poll=lambda: None))
    monkeypatch.setattr(gpu, "stop", lambda process: None)
    monkeypatch.setattr(gpu.time, "time", lambda: clock[0])
    return limits


def test_time_that_a_part_leaves_goes_to_the_parts_after_it(begun: dict[str, float], tmp_path: Path) -> None:
    assert gpu.run(["--out", str(tmp_path), "--small", "--minutes", "5.1"]) == 0
    assert list(begun) == gpu.PARTS
    # 300 s at first, 270 s after the tests, and all that is left for the last part
    assert begun["tests"] == pytest.approx(90) and begun["compiled"] == pytest.approx(210)
    assert begun["throughput"] == pytest.approx(270 * 0.34 / 0.70)


def test_a_part_does_not_begin_without_time(begun: dict[str, float], tmp_path: Path) -> None:
    assert gpu.run(["--out", str(tmp_path), "--small", "--minutes", "1.2"]) == 1
    assert list(begun) == ["tests", "throughput"]
    assert "| training | not run: no time was left |" in (tmp_path / "results.md").read_text()


def test_what_would_cost_time_of_the_gpu_is_refused_at_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu, "gpu_found", lambda: False)
    (tmp_path / "out").touch()
    wrong = ["--parts", "tests", "speed", "--minutes", "nan", "--s3prl", str(tmp_path)]
    with pytest.raises(SystemExit) as stopped:
        gpu.run(["--out", str(tmp_path / "out"), *wrong])
    told = capsys.readouterr().err
    assert stopped.value.code == 2
    for problem in ("--parts: found speed", "--minutes: found nan", "is a file", "lacks pretrain", "no GPU was found"):
        assert problem in told


def test_the_commands_name_what_was_given(tmp_path: Path) -> None:
    args = argparse.Namespace(device="cuda", out=tmp_path, small=False, s3prl=tmp_path / "s3prl", workers=6)
    args.parts = ["throughput", "training"]
    throughput, training = gpu.parts(args, tmp_path)
    assert throughput.command[1:3] == ["--device", "cuda"] and str(tmp_path / "s3prl") in throughput.command
    assert "--small" not in training.command and "--forms" not in throughput.command


@pytest.mark.parametrize(("asked", "left"), [("", 1), ("cpu", 2)])
def test_a_machine_without_a_gpu_leaves_the_tests_of_gpus_out(
    asked: str, left: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setenv("GPU_TESTS_ON", asked)
    reported: list[Any] = []
    hook = SimpleNamespace(pytest_deselected=lambda items: reported.extend(items))
    items: list[Any] = [
        SimpleNamespace(path=Path("tests/test_x.py"), get_closest_marker=lambda name, has=has: has)
        for has in (True, False)
    ]
    conftest.pytest_collection_modifyitems(SimpleNamespace(hook=hook), items)  # type: ignore[arg-type]
    assert len(items) == left and len(reported) == 2 - left

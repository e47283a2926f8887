"""`gendistiller superb` over the stand-in for run_downstream.py."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from s3prl_gendistiller.cli import main
from s3prl_gendistiller.superb.suite.suite import Suite
from tests.host.test_checkpoint import save_student
from tests.superb.standin import Host

Superb = Callable[..., int]


@pytest.fixture
def students(tmp_path: Path) -> dict[str, Path]:
    return {
        name: save_student(tmp_path / name / "states-3.ckpt", Step=step)
        for step, name in enumerate(("a", "b", "c", "a.2"), 1)
    }


@pytest.fixture
def superb(suite: Suite, host: Host, students: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> Superb:
    """The command, whose runs are those of the stand-in; of the students by name, a unless others are named."""
    host.replace_processes(monkeypatch, size=(100, 1.5))

    def run(*arguments: str, names: Sequence[str] = ("a",)) -> int:
        given = [part for name in names for part in ("--student", f"{name}={students.get(name, students[name[0]])}")]
        return main(["superb", *given, "--out", str(suite.out), *arguments])

    return run

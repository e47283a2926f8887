"""What a training run shows while it runs: a bar in a terminal, a few lines in a log."""

from __future__ import annotations

import io
import re
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from s3prl_gendistiller.host import progress
from s3prl_gendistiller.host.progress import Bars, StepBar
from s3prl_gendistiller.host.training_guard import TrainingGuard
from tests.host.loops import Loops


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A clock that moves by `clock.step` seconds with each look."""
    clock = SimpleNamespace(now=0.0, step=0.0)

    def monotonic() -> float:
        clock.now += clock.step
        return float(clock.now)

    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=monotonic))
    return clock


@pytest.fixture
def guard() -> TrainingGuard:
    guard = TrainingGuard()
    guard.recent_losses.extend([2.0, 4.0])
    guard.task = SimpleNamespace(held_out_loss=None)  # type: ignore[assignment]
    return guard


def test_a_log_gets_some_hundred_lines_however_long_the_run_is(
    guard: TrainingGuard, clock: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    for seconds, most in ((0.001, 1), (1.0, 110), (200.0, 340)):  # a step; in all 1 s, 17 minutes, 55 hours
        clock.step = seconds
        bar = StepBar(1000, guard)
        for _ in range(1000):
            bar.update(1)
        bar.close()
        lines = capsys.readouterr().err.splitlines()
        assert 0 < len(lines) <= most and "step 1,000 of 1,000" in lines[-1]
        assert len(lines) > most / 3


def test_a_line_shows_step_losses_rate_and_time_left(
    guard: TrainingGuard, clock: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    bar = StepBar(2000, guard)
    bar.n = 1000  # a run that goes on
    clock.step = 20.0
    bar.update(1)
    assert capsys.readouterr().err == (
        "[gendistiller] step 1,001 of 2,000, loss 3, 20.0 seconds a step, 5:33:00 left\n"
    )
    assert guard.task is not None
    guard.task.held_out_loss = 2.5  # type: ignore[assignment]
    clock.now, clock.step = 0.0, 1000.0
    for _ in range(999):
        bar.update(1)
    last = capsys.readouterr().err.splitlines()[-1]
    assert "step 2,000 of 2,000, loss 3, held-out loss 2.5, " in last and last.endswith(" in all")


def test_a_terminal_gets_one_bar_with_the_losses(guard: TrainingGuard, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    bars = Bars(guard)
    batches = [1, 2, 3]
    assert bars(batches, dynamic_ncols=True, desc="train") is batches  # no second bar for the epoch
    bar = bars(total=10, dynamic_ncols=True, desc="overall")
    bar.n = 4
    for _ in range(6):
        bar.update(1)
    bar.close()
    shown = terminal.getvalue().split("\r")[-1]
    assert re.match(r"step 10/10, loss 3 \|[█#]+\| +\S+ ?steps/s 00:00 left", shown), shown


def test_both_losses_of_a_real_loop_are_shown(loops: Loops, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    if loops.kind == "downstream":  # its bars stay as they are, for the suite that reads them
        loops.train("run")
        assert "overall: 100%" in capsys.readouterr().err
        return
    loops.task.held_out_loss = 0.125
    loops.train("run", total_steps=6, log_step=2)
    error = capsys.readouterr().err
    assert re.search(r"^\[gendistiller\] step 6 of 6, loss \S+, held-out loss 0\.125, .* in all$", error, re.M)
    assert "it/s" not in error and error.count("step ") == 1

"""What a suite shows while it runs, in a log and in a terminal, and what is left of it."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.host.progress import speed_in_words
from s3prl_gendistiller.superb.suite import display as displays
from s3prl_gendistiller.superb.suite import remaining_work
from s3prl_gendistiller.superb.suite.benchmark import run_suite
from s3prl_gendistiller.superb.suite.display import Display
from s3prl_gendistiller.superb.suite.dry_run import planned_work
from s3prl_gendistiller.superb.suite.duration import Durations
from s3prl_gendistiller.superb.suite.experiment_folder import TEST_LOG, TRAIN_LOG
from s3prl_gendistiller.superb.suite.remaining_work import RemainingWork
from s3prl_gendistiller.superb.suite.run import Run
from s3prl_gendistiller.superb.suite.running_command import Progress, RunningCommand
from s3prl_gendistiller.superb.suite.suite import Suite
from tests.superb.standin import FBANK, Host
from tests.superb.suite.test_running_command import bar, write

Lines = Callable[[], list[str]]


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> Lines:
    """The lines of the log since the last call."""
    monkeypatch.setattr(logging.getLogger("s3prl_gendistiller"), "propagate", True)
    caplog.set_level("INFO", "s3prl_gendistiller")

    def take() -> list[str]:
        found = [record.getMessage() for record in caplog.records]
        caplog.clear()
        return found

    return take


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The present time, a list of one number."""
    now = [100.0]
    monkeypatch.setattr(remaining_work.time, "monotonic", lambda: now[0])  # one module for all
    return now


def work_of(suite: Suite, hours: float = 1.0) -> RemainingWork:
    durations = Durations(suite, {"fbank": 0.003}, 0.05, on_gpu=False)
    return RemainingWork(planned_work(suite, {}), durations, hours)


def run_of(suite: Suite) -> Run:
    run = Run(suite, FBANK, suite.tasks[0])
    run.folder.mkdir(parents=True)
    return run


def test_a_log_has_a_line_at_the_start_at_scores_and_at_the_end(suite: Suite, lines: Lines, clock: list) -> None:
    display, run = Display(work_of(suite)), run_of(suite)
    with display.watching(run, run.folder / TRAIN_LOG):
        display.refresh()
        write(run, TRAIN_LOG, messages=bar("overall", 10, 1000))
        display.refresh()
        assert lines() == ["fbank ks: begins"]
        clock[0] += 30
        for score in range(1, 40):  # as often as s3prl may evaluate; a line each would be too many
            write(run, TRAIN_LOG, printed=f"dev acc: 0.{score:02d}\n", messages=bar("overall", 25 * score, 1000))
            display.refresh()
        shown = lines()
        assert shown[0].startswith("fbank ks: step 50 of 1,000, dev acc % 2.00, ")
        assert 15 < len(shown) <= displays.LINES and all("\r" not in line for line in shown)
        write(run, TRAIN_LOG, messages="[gendistiller] /kept: keeps no more features, since\n" * 2)
        display.refresh()
        display.refresh()
        assert lines() == ["/kept: keeps no more features, since"]
    assert lines() == ["fbank ks: trained in 00:30, dev acc % 39.00; 1 of 2 trainings and tests done, about 1 min left"]
    with display.watching(run, run.folder / TEST_LOG):
        display.refresh()
    assert lines() == []  # the result of a test is logged by the suite


def test_a_long_silence_ends_with_a_line_of_the_run_and_one_of_the_suite(
    suite: Suite, lines: Lines, clock: list
) -> None:
    display, run = Display(work_of(suite, hours=10)), run_of(suite)
    with display.watching(run, run.folder / TRAIN_LOG):
        write(run, TRAIN_LOG, messages=bar("overall", 10, 1000))
        display.refresh()
        clock[0] += displays.SILENCE_S + 1
        write(run, TRAIN_LOG, messages=bar("overall", 110, 1000))
        display.refresh()
        told, whole = lines()[1:]
        assert told == f"fbank ks: step 110 of 1,000, {speed_in_words(100 / 601)}, 1:29:08 left"
        assert whole == "suite: 0 of 2 trainings and tests done, about 89 min left"
        display.refresh()
        assert lines() == []


def test_a_run_that_fails_is_not_said_to_be_trained(suite: Suite, lines: Lines) -> None:
    display, run = Display(work_of(suite)), run_of(suite)
    with pytest.raises(UserError), display.watching(run, run.folder / TRAIN_LOG):
        raise UserError("ended with status 1")
    assert lines() == ["fbank ks: begins"]


def test_a_terminal_has_a_row_for_each_run_and_one_for_the_suite(
    suite: Suite, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    display, run = Display(work_of(suite)), run_of(suite)
    with display.shown():
        for log, name in ((TRAIN_LOG, "overall"), (TEST_LOG, "test")):
            with display.watching(run, run.folder / log), display.watching(run, run.folder / log):
                write(run, log, messages=bar(name, 30, 60))
                display.refresh()
                assert [row.place for row in display._rows if isinstance(row, displays._Row)] == [1, 2]
    shown = capsys.readouterr().err
    assert "suite: 0 of 2 trainings and tests done" in shown and "fbank ks, test: 30/60" in shown
    assert shown.count("fbank ks: 30/60 |████████        |") >= 2


def test_a_suite_shows_its_runs_and_counts_them(suite: Suite, host: Host, lines: Lines) -> None:
    work = work_of(suite)
    display = Display(work)
    with display.shown():
        _, failures = run_suite(suite, host, {}, 1, display.watching)
    assert failures == [] and (work.done, work.total, work.share) == (2, 2, 1.0)
    assert [line.split(";")[0] for line in lines()][:1] == ["fbank ks: begins"]


def test_of_a_suite_that_has_begun_only_the_rest_is_planned(suite: Suite, host: Host) -> None:
    run_suite(suite, host, {})
    assert planned_work(suite, {}, begun=True) == [] and len(planned_work(suite, {})) == 2
    (Run(suite, FBANK, suite.tasks[0]).folder / "superb.json").unlink()
    assert len(planned_work(suite, {}, begun=True)) == 2
    assert work_of(Suite([], suite.tasks, "small", Path("out"))).share == 1.0


def test_the_time_left_is_the_estimate_until_the_suite_has_a_pace_of_its_own(suite: Suite, clock: list) -> None:
    work, run = work_of(suite, hours=2), run_of(suite)
    command = RunningCommand(run, run.folder / TRAIN_LOG, training=True)
    clock[0] += 10
    work.advance([(command, Progress(500, 1000))])
    assert work.seconds_left == 7190  # too early to tell
    clock[0] += 90
    work.advance([(command, Progress(500, 1000, 1.0))])
    assert 0.4 < work.share < 0.5 and 100 < work.seconds_left == pytest.approx(500)  # the run's own time is longer
    work.advance([(command, Progress(500, 1000))])
    assert work.seconds_left == pytest.approx(100 * (1 - work.share) / work.share)
    work.end(command)
    work.end(command)  # more often than planned, as a search may
    assert work.done == 1 and work.describe().startswith("1 of 2 trainings and tests done, about ")

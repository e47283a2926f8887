"""Step, score, speed and time left of a command, from files as s3prl's Runner writes them."""

from __future__ import annotations

import pytest

from s3prl_gendistiller.superb.suite import running_command
from s3prl_gendistiller.superb.suite.experiment_folder import TEST_LOG, TRAIN_LOG
from s3prl_gendistiller.superb.suite.run import Run
from s3prl_gendistiller.superb.suite.running_command import Progress, RunningCommand
from s3prl_gendistiller.superb.suite.suite import Suite
from tests.superb.standin import FBANK


def bar(name: str, done: int, total: int) -> str:
    """A bar of tqdm in a file, between the signs that move a terminal's cursor."""
    head = f"{name}: " if name else ""
    return f"\r{head}{100 * done // total:3d}%|{'█' * 3}       | {done}/{total} [01:39<00:00, 22.25it/s]\n\x1b[A"


@pytest.fixture
def run(suite: Suite) -> Run:
    run = Run(suite, FBANK, suite.tasks[0])
    run.folder.mkdir(parents=True)
    return run


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The present time, a list of one number."""
    now = [100.0]
    monkeypatch.setattr(running_command.time, "monotonic", lambda: now[0])
    return now


def write(run: Run, log: str, *, printed: str = "", messages: str = "") -> None:
    for path, text in ((run.folder / log, printed), ((run.folder / log).with_suffix(".err"), messages)):
        with path.open("a", encoding="utf-8") as file:
            file.write(text)


def test_a_training_shows_its_steps_and_not_the_batches_of_its_epochs(run: Run, clock: list[float]) -> None:
    write(run, TRAIN_LOG, printed="dev acc: 0.99\n", messages=bar("overall", 900, 1000))  # before it was killed
    command = RunningCommand(run, run.folder / TRAIN_LOG, training=True)
    assert command.progress() == Progress() and command.describe(Progress()) == "fbank ks: begins"
    clock[0] += 50  # imports
    write(run, TRAIN_LOG, messages=bar("overall", 400, 1000) + bar("train", 1, 80))
    assert command.progress() == Progress(400, 1000)
    clock[0] += 10
    write(run, TRAIN_LOG, printed="dev acc: 0.25\n", messages=bar("overall", 500, 1000) + bar("dev", 60, 60))
    progress = command.progress()
    assert progress == Progress(500, 1000, 10.0, (25.0,)) and (progress.share, progress.seconds_left) == (0.5, 50)
    assert command.describe(progress) == (
        "fbank ks: step 500 of 1,000, dev acc % 25.00, 10.0 steps a second, 00:50 left"
    )
    assert command.describe(progress, brief=True) == "fbank ks: 500/1,000, dev acc % 25.00, 10.0/s, 00:50 left"


def test_the_bars_of_an_evaluation_on_dev_do_not_hide_the_step(run: Run) -> None:
    command = RunningCommand(run, run.folder / TRAIN_LOG, training=True)
    write(run, TRAIN_LOG, messages=bar("overall", 400, 1000) + "".join(bar("dev", n, 400) for n in range(400)))
    assert command.progress().done == 400


def test_an_evaluation_shows_its_batches(run: Run) -> None:
    command = RunningCommand(run, run.folder / TEST_LOG, training=False)
    write(run, TEST_LOG, messages=bar("Preprocessing", 3, 9) + bar("", 12, 30), printed="dev acc: 0.5\n")
    progress = command.progress()
    assert (progress.done, progress.total, progress.scores) == (12, 30, ())
    assert command.describe(progress) == "fbank ks, test: batch 12 of 30"


def test_what_a_cache_at_its_limit_does_is_noticed(run: Run) -> None:
    command = RunningCommand(run, run.folder / TRAIN_LOG, training=True)
    said = "/kept: keeps no more features, since its limit is 1 KB; new ones are computed each time"
    write(run, TRAIN_LOG, messages=f"{bar('overall', 1, 9)}\r[gendistiller] {said}\n{bar('overall', 2, 9)}")
    assert command.progress().done == 2 and list(command.notices.values()) == [said]

"""The display of a suite while it runs: a row for each running command and one for the suite.

In a terminal these rows are tqdm's bars. In a log they are lines: one when a training begins, at most `LINES` in its
course (at a new score on dev, or after `SILENCE_S`), one when it ends, and one of the suite now and then.
"""

from __future__ import annotations

import contextlib
import logging
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from s3prl_gendistiller.superb.suite.experiment_folder import TRAIN_LOG
from s3prl_gendistiller.superb.suite.remaining_work import RemainingWork
from s3prl_gendistiller.superb.suite.run import Run
from s3prl_gendistiller.superb.suite.running_command import Progress, RunningCommand

LINES = 20
SILENCE_S = 600.0
SUITE_LINES = 100
REFRESH_S = 1.0
_ROW = "{desc} |{bar:16}|"

logger = logging.getLogger(__name__)


class Display:
    """Shows the commands that are inside of `watching`, from any thread.

    Args:
        work: the commands that are to come.
    """

    def __init__(self, work: RemainingWork) -> None:
        self._work = work
        self._rows: list[_Lines | _Row] = []
        self._guard = threading.Lock()
        self._ended = threading.Event()
        self._terminal = sys.stderr.isatty()
        self._suite_row = _bar(0) if self._terminal else None
        self._last_line = time.monotonic()
        self._said: set[str] = set()

    @contextlib.contextmanager
    def shown(self) -> Iterator[None]:
        """Shows the progress until the block ends."""
        thread = threading.Thread(target=self._refresh_until_the_end, daemon=True)
        package = logging.getLogger("s3prl_gendistiller")
        with logging_redirect_tqdm([package]) if self._terminal else contextlib.nullcontext():
            thread.start()
            try:
                yield
            finally:
                self._ended.set()
                thread.join()
                if self._suite_row is not None:
                    self._suite_row.close()

    @contextlib.contextmanager
    def watching(self, run: Run, log: Path) -> Iterator[None]:
        """Shows one command as long as the block lasts, and counts it as done at the end."""
        command = RunningCommand(run, log, training=log.name == TRAIN_LOG)
        with self._guard:
            row = _Row(command, self._free_place()) if self._terminal else _Lines(command)
            self._rows.append(row)
        succeeded = False
        try:
            yield
            succeeded = True
        finally:
            with self._guard:
                self._rows.remove(row)
                progress = command.progress()
                self._say_notices(command)
                self._work.end(command)
                row.end()
                if command.training and succeeded:
                    took = tqdm.format_interval(command.seconds)
                    score = f", {command.score(progress)}" if progress.scores else ""
                    logger.info("%s: trained in %s%s; %s", command.name, took, score, self._work.describe())
                    self._last_line = time.monotonic()

    def refresh(self) -> None:
        """Reads the progress of all running commands, and shows it."""
        with self._guard:
            running = [(row.command, row.refresh()) for row in self._rows]
            self._work.advance(running)
            for command, _ in running:
                self._say_notices(command)
            if self._suite_row is not None:
                _draw(self._suite_row, f"suite: {self._work.describe()}", self._work.share)
            elif time.monotonic() - self._last_line > max(SILENCE_S, self._work.planned_seconds / SUITE_LINES):
                self._last_line = time.monotonic()
                logger.info("suite: %s", self._work.describe())

    def _refresh_until_the_end(self) -> None:
        while not self._ended.wait(REFRESH_S):
            self.refresh()

    def _free_place(self) -> int:
        taken = {row.place for row in self._rows if isinstance(row, _Row)}
        return next(place for place in range(1, len(taken) + 2) if place not in taken)

    def _say_notices(self, command: RunningCommand) -> None:
        """Says once what a cache of features does at its limit; the runs write it into files of their own."""
        for notice in command.notices.keys() - self._said:
            self._said.add(notice)
            logger.warning("%s", command.notices[notice])


class _Row:
    """The row of a command in a terminal, at a place below that of the suite."""

    def __init__(self, command: RunningCommand, place: int) -> None:
        self.command, self.place = command, place
        self._bar = _bar(place)

    def refresh(self) -> Progress:
        progress = self.command.progress()
        _draw(self._bar, self.command.describe(progress, brief=True), progress.share)
        return progress

    def end(self) -> None:
        self._bar.close()


class _Lines:
    """The lines of a command in a log; an evaluation, which is short as a rule, has none before `SILENCE_S`."""

    def __init__(self, command: RunningCommand) -> None:
        self.command = command
        self._time, self._share = time.monotonic(), 0.0
        self._scores: tuple[float, ...] = ()
        if command.training:
            logger.info("%s: begins", command.name)

    def refresh(self) -> Progress:
        progress = self.command.progress()
        scored = progress.scores != self._scores and progress.share >= self._share + 1 / LINES
        silent = time.monotonic() - self._time
        paused = silent > SILENCE_S and (progress.share >= self._share + 1 / LINES or silent > LINES * SILENCE_S)
        if progress.share < 1 and (scored or paused):
            self._time, self._share, self._scores = time.monotonic(), progress.share, progress.scores
            logger.info("%s", self.command.describe(progress))
        return progress

    def end(self) -> None:
        """A log keeps its lines."""


def _bar(place: int) -> tqdm:
    return tqdm(total=1.0, position=place, leave=False, bar_format=_ROW, dynamic_ncols=True)


def _draw(bar: tqdm, text: str, share: float) -> None:
    bar.n = share
    bar.set_description_str(text)

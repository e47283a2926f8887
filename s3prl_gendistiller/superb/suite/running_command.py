"""The progress of one running command, from the files in which its output goes.

s3prl's Runner draws bars on its standard error, which `processes` sends into an .err file, and prints the scores on dev
on its standard output. Nothing is added to a run for its progress.
"""

from __future__ import annotations

import os
import re
import time
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from s3prl_gendistiller.formats.printed import printed_values
from s3prl_gendistiller.host.feature_store import NO_ROOM, REMOVED
from s3prl_gendistiller.host.progress import speed_in_words
from s3prl_gendistiller.superb.suite.run import Run

_BAR = re.compile(r"([\w.-]*)(?:: )? *\d+%\|[^|]*\| *(\d+)/(\d+) \[")
# s3prl's name of the bar of a training; the others count the batches of an epoch, or of an evaluation
_STEPS = "overall"
NOTICES = (NO_ROOM, REMOVED)
_TAIL = 1 << 16  # bytes; the bars of one evaluation on dev, which hide the bar of the training, take less


@dataclass(frozen=True)
class Progress:
    """The progress of a command: steps of a training, or batches of an evaluation, with the speed and the time left.

    Attributes:
        total: 0 as long as nothing is known.
        rate: steps per second since the first reading, which leaves out the start of the program; None at that reading.
        scores: the values on dev, in order, in the unit of the task's metric.
    """

    done: int = 0
    total: int = 0
    rate: float | None = None
    scores: tuple[float, ...] = ()

    @property
    def share(self) -> float:
        return self.done / self.total if self.total else 0.0

    @property
    def seconds_left(self) -> float | None:
        return (self.total - self.done) / self.rate if self.rate else None


class RunningCommand:
    """A command that has just been started.

    Args:
        log: file of its output; its messages and bars are in the .err file beside it.
        training: whether it trains; otherwise it evaluates.
    """

    def __init__(self, run: Run, log: Path, *, training: bool) -> None:
        self.run, self.training = run, training
        test = ", test" if run.task.trained and not training else ""
        self.name = f"{run.model.name} {run.name}{test}"
        self._log, self._messages = log, log.with_suffix(".err")
        self._begin = {path: _size(path) for path in (self._log, self._messages)}  # a run that goes on appends to both
        self._began = time.monotonic()
        self._first: tuple[int, float] | None = None  # steps and time of the first reading
        self.notices: dict[str, str] = {}  # messages of a cache of features that has reached its limit, by `NOTICES`

    @property
    def seconds(self) -> float:
        """Seconds since the command was started."""
        return time.monotonic() - self._began

    def progress(self) -> Progress:
        """The present progress."""
        text = self._tail(self._messages)
        for notice in NOTICES:
            if found := re.search(rf"[^\]\n\r]*{notice}[^\n\r]*", text):
                self.notices[notice] = found[0].strip()
        bars = [(int(done), int(total)) for name, done, total in _BAR.findall(text) if self._counts(name)]
        done, total = bars[-1] if bars else (0, 0)
        if self._first is None and bars:
            self._first = done, time.monotonic()
        first, since = self._first or (done, time.monotonic())
        rate = (done - first) / max(time.monotonic() - since, 1e-9)
        return Progress(done, total, rate or None, self._scores())

    def describe(self, progress: Progress, *, brief: bool = False) -> str:
        """Step, last score on dev, speed and time left; `brief` for one row of a terminal."""
        of, unit = ("/", "") if brief else (" of ", "step " if self.training else "batch ")
        parts = [f"{unit}{progress.done:,}{of}{progress.total:,}"] if progress.total else ["begins"]
        if progress.scores:
            parts.append(self.score(progress))
        if progress.rate and progress.seconds_left is not None:
            parts.append(f"{progress.rate:.1f}/s" if brief else speed_in_words(progress.rate))
            parts.append(f"{tqdm.format_interval(progress.seconds_left)} left")
        return f"{self.name}: {', '.join(parts)}"

    def score(self, progress: Progress) -> str:
        """The last score on dev, of a progress that has one."""
        return f"dev {self.run.task.dev_metric.label} {progress.scores[-1]:.2f}"

    def _counts(self, bar: str) -> bool:
        return bar == _STEPS if self.training else bar != "Preprocessing"

    def _scores(self) -> tuple[float, ...]:
        if not self.training:
            return ()
        metric = self.run.task.dev_metric
        values = printed_values(self._tail(self._log), self.run.task.dev, metric.printed)
        return tuple(value * metric.factor for value in values)

    def _tail(self, path: Path) -> str:
        """The last part of what the command has written into a file."""
        try:
            with path.open("rb") as file:
                file.seek(max(self._begin[path], _size(path) - _TAIL))
                return file.read(_TAIL).decode("utf-8", errors="replace")
        except OSError:
            return ""


def _size(path: Path) -> int:
    return os.path.getsize(path) if path.is_file() else 0

"""What is left of a suite: the number of its commands, and the time that they take.

The time is at first the estimate. As soon as a part of the work is done, the time that this part took is scaled to the
rest: an estimate of one part of a suite may be wrong, but it is wrong by much the same factor for the other parts.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Sequence

from s3prl_gendistiller.superb.suite.dry_run import Work
from s3prl_gendistiller.superb.suite.duration import Durations
from s3prl_gendistiller.superb.suite.estimate import in_time
from s3prl_gendistiller.superb.suite.running_command import Progress, RunningCommand

TRUSTED_S, TRUSTED_SHARE = 20.0, 0.02
"""Seconds and share of the work after which the pace of a suite counts more than the estimate."""

_Key = tuple[str, str, bool]


class RemainingWork:
    """The commands of a suite that have not ended.

    A search may try other learning rates than the plan assumes. A command therefore stands for the next planned one of
    the same student and task.

    Args:
        hours: estimated time of the whole plan, with several runs at a time.
    """

    def __init__(self, plan: Sequence[Work], durations: Durations, hours: float) -> None:
        self._waiting: dict[_Key, list[float]] = defaultdict(list)
        for work in plan:
            seconds = durations.seconds(work) / work.checkpoints
            self._waiting[work.run.model.name, work.run.task.name, work.steps > 0] += [seconds] * work.checkpoints
        self.total = sum(map(len, self._waiting.values()))
        self.done = 0
        self.planned_seconds = hours * 3600
        self._all_s = sum(map(sum, self._waiting.values()))
        self._done_s = self._running_s = self._longest_s = 0.0
        self._began = time.monotonic()

    def end(self, command: RunningCommand) -> None:
        """Counts a command as done."""
        if waiting := self._waiting[_key(command)]:
            self._done_s += waiting.pop(0)
            self.done += 1

    def advance(self, running: Sequence[tuple[RunningCommand, Progress]]) -> None:
        """Counts the finished parts of the commands that run now."""
        self._running_s = sum(
            progress.share * waiting[0] for command, progress in running if (waiting := self._waiting[_key(command)])
        )
        self._longest_s = max((progress.seconds_left or 0.0 for _, progress in running), default=0.0)

    @property
    def share(self) -> float:
        """The finished share of the work, between 0 and 1."""
        return min(1.0, (self._done_s + self._running_s) / self._all_s) if self._all_s else 1.0

    @property
    def seconds_left(self) -> float:
        """Seconds until the last command ends, at least those of the commands that run now."""
        passed = time.monotonic() - self._began
        if passed < TRUSTED_S or self.share < TRUSTED_SHARE:
            return max(self._longest_s, self.planned_seconds - passed)
        return max(self._longest_s, passed * (1 - self.share) / self.share)

    def describe(self) -> str:
        """The number of finished commands, and the time left."""
        left = "" if self.done == self.total else f", about {in_time(self.seconds_left / 3600)} left"
        return f"{self.done} of {self.total} trainings and tests done{left}"


def _key(command: RunningCommand) -> _Key:
    return command.run.model.name, command.run.task.name, command.training

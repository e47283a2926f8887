"""Contenders that take turns in one process: their steps are timed, and one that fails does not stop the others."""

from __future__ import annotations

import functools
import gc
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch

from s3prl_gendistiller.errors import UserError
from stock import memory
from stock.training import PARTS, Clock

TIMED = 2
"""Timed steps of a turn. An untimed one before them finds the memory that other contenders have left."""
ROUNDS_SHARE = 0.4
"""Part of the time that is kept for rounds."""
Step = Callable[[], None]


@dataclass
class Contender:
    """One row of the table.

    Attributes:
        build: makes the function that takes one step; the clock counts its parts.
        keeps_memory: glibc keeps freed memory while it runs, see `memory.keep_freed`.
        seconds, cpu_seconds: mean of a step in each round.
        parts: seconds of the parts of a step in each round.
        peak_gib: memory of building it and of two steps; None where it is not known.
        problem: why it has no times.
    """

    name: str
    build: Callable[[Clock], Step]
    keeps_memory: bool = True
    seconds: list[float] = field(default_factory=list)
    cpu_seconds: list[float] = field(default_factory=list)
    parts: list[dict[str, float]] = field(default_factory=list)
    peak_gib: float | None = None
    problem: str = ""
    clock: Clock = field(default_factory=Clock)
    step: Step | None = None

    def prepare(self, device: torch.device) -> None:
        """Builds the contender and takes two steps, which allocate all memory that it needs."""
        memory.keep_freed(self.keeps_memory)
        peak, self.clock = memory.Peak(device), Clock(device)
        self.step = self.build(self.clock)
        for _ in range(2):
            self.step()
        self.clock.wait()
        self.peak_gib = peak.gib()

    def turn(self) -> None:
        """One untimed step, `TIMED` timed ones, and on a GPU one more whose parts are counted.

        A running clock waits for the device after each part, which costs time on a GPU alone.
        """
        memory.keep_freed(self.keeps_memory)
        apart = self.clock.device.type == "cuda"
        self._take(parts=False)
        self.clock.wait()
        wall, cpu = time.perf_counter(), time.process_time()
        laps = [self._take(parts=not apart) for _ in range(TIMED)]
        self.clock.wait()
        self.seconds.append((time.perf_counter() - wall) / TIMED)
        self.cpu_seconds.append((time.process_time() - cpu) / TIMED)
        if apart:
            laps = [self._take(parts=True)]
        self.parts.append({part: sum(lap[part] for lap in laps) / len(laps) for part in PARTS})

    def _take(self, *, parts: bool) -> dict[str, float]:
        """Takes a step; the seconds of its parts, if they are counted."""
        assert self.step is not None
        self.clock.running = False
        if parts:
            self.clock.start()
        self.step()
        return self.clock.parts

    def give_up(self, error: Exception) -> None:
        """Frees what the contender holds; `problem` says why it has no times."""
        text = str(error).strip() or type(error).__name__
        full = any(sign in text for sign in ("out of memory", "allocate memory", "not enough memory"))
        self.problem = "does not fit in memory" if full else f"failed: {text.splitlines()[0][:200]}"
        self.step, self.clock = None, Clock()
        for taken in (self.seconds, self.cpu_seconds, self.parts):
            taken.clear()


def measure(
    contenders: Sequence[Contender],
    device: torch.device,
    rounds: int,
    ends: float = float("inf"),
    after: Callable[[], object] = lambda: None,
) -> None:
    """Prepares all contenders, then lets them take turns.

    Args:
        ends: time of `time.monotonic` by which the last round is to end. The first round is always begun, and no
            contender is prepared in the last `ROUNDS_SHARE` of the time.
        after: called after each round.

    Raises:
        UserError: every contender has failed.
    """
    until = ends - ROUNDS_SHARE * (ends - time.monotonic()) if ends < float("inf") else ends
    for contender in contenders:
        if time.monotonic() > until:
            contender.problem = "not measured, for lack of time"
        else:
            began = time.monotonic()
            _attempt(contender, functools.partial(contender.prepare, device))
            print(f"{contender.name}: prepared in {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    longest = 0.0
    for number in range(rounds):
        began = time.monotonic()
        if number and began + longest > ends:
            break
        for contender in contenders:
            if not contender.problem:
                _attempt(contender, contender.turn)
        longest = max(longest, time.monotonic() - began)
        print(f"round {number + 1} of {rounds}: {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
        after()
    if all(contender.problem for contender in contenders):
        raise UserError("\n".join(f"{contender.name}: {contender.problem}" for contender in contenders))


def _attempt(contender: Contender, action: Callable[[], None]) -> None:
    """Takes an action of a contender; any failure of one contender is noted, and the others go on."""
    try:
        action()
    except Exception as error:
        traceback.print_exc()
        contender.give_up(error)
        print(f"{contender.name}: {contender.problem}", file=sys.stderr, flush=True)
    else:
        return
    gc.collect()  # after the handler, whose traceback holds the tensors
    if torch.cuda.is_available():
        torch.cuda.empty_cache()

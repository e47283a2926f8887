"""A sign of life of every rank in torchrun's store, so that a lost machine ends the other ranks within a minute.

A rank that dies closes its connections, which ends the others at once. A machine without power or network closes
nothing: the others would wait in a collective call until it times out.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from torch.distributed import Store  # type: ignore[attr-defined]

EVERY, LOST_AFTER = 5.0, 40.0  # seconds
_DONE = 2**40  # more than any count


class Pulse:
    """A thread that counts up in the store, and watches the counts of the other ranks.

    Args:
        store: the store of all ranks.
        rank: number of this process; world: number of ranks.
        lost: called once with the reason if a count has stood still for `LOST_AFTER`, or the store does not answer.
    """

    def __init__(self, store: Store, rank: int, world: int, lost: Callable[[str], None]) -> None:
        self._store, self._rank, self._lost = store, rank, lost
        self._others = [number for number in range(world) if number != rank]
        self._seen: dict[int, tuple[int, float]] = {}
        self._answered = time.monotonic()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread, and tells the other ranks that this rank is done."""
        self._stopped.set()
        self._thread.join()
        try:
            self._store.add(_key(self._rank), _DONE)
        except RuntimeError:  # the store has ended with torchrun
            return

    def _run(self) -> None:
        while not self._stopped.wait(EVERY):
            try:
                self._store.add(_key(self._rank), 1)
                counts = {number: int(self._store.add(_key(number), 0)) for number in self._others}
            except RuntimeError as error:
                problem = self._store_problem(error)
            else:
                self._answered = time.monotonic()
                problem = self._problem(counts)
            if problem and not self._stopped.is_set():
                self._lost(problem)
                return

    def _problem(self, counts: dict[int, int]) -> str:
        now = time.monotonic()
        for number, count in counts.items():
            last, since = self._seen.get(number, (0, now))
            if last != count:
                self._seen[number] = (count, now)
            elif 0 < count < _DONE and now - since > LOST_AFTER:  # 0: a rank that still starts
                return f"rank {number} has given no sign of life for {LOST_AFTER:.0f} seconds"
        return ""

    def _store_problem(self, error: RuntimeError) -> str:
        if time.monotonic() - self._answered <= LOST_AFTER:
            return ""
        reason = str(error).strip().splitlines()[0][:120]
        return f"the store of torchrun has not answered for {LOST_AFTER:.0f} seconds ({reason})"


def _key(rank: int) -> str:
    return f"pulse/{rank}"

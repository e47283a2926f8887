"""The place where the ranks of a run meet before and beside the training: the store that torchrun keeps.

The ranks compare their input there, tell one another of a fault, and let one of them speak for all.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta

from torch.distributed import PrefixStore, Store, TCPStore  # type: ignore[attr-defined]

from s3prl_gendistiller.errors import SHOWN, UserError, shortened
from s3prl_gendistiller.host.pulse import Pulse

VARIABLES = ("RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
WAIT = 1800.0  # seconds for the slowest rank, which may download its teacher
LEAVING, LEAVING_BEGUN = 60.0, 2.0  # seconds for the others to end as well, before and after the first step
_PAUSE, _CONNECTING = 0.05, timedelta(seconds=60)

_present: Meeting | None = None


class Meeting:
    """One rank's access to the store.

    Args:
        store: the store that all ranks share, also after a restart.
        rank: number of this process; world: number of ranks.
        local_rank: number of this process on its machine; local_world: number of ranks there.
        attempt: number of restarts before.
        restarts: number of restarts that torchrun may do.

    Attributes:
        begun: whether the first step has begun.
        pulse: this rank's sign of life, if the ranks are joined.
    """

    def __init__(
        self,
        store: Store,
        rank: int,
        world: int,
        *,
        local_rank: int = 0,
        local_world: int = 1,
        attempt: int = 0,
        restarts: int = 0,
    ) -> None:
        self.rank, self.world, self.local_rank, self.local_world = rank, world, local_rank, local_world
        self.attempt, self.restarts = attempt, restarts
        self.begun = False
        self.pulse: Pulse | None = None
        self._lasting = PrefixStore("gendistiller", store)
        self.store = PrefixStore(f"gendistiller/{attempt}", store)
        self._said = False
        self._speaking = threading.Lock()

    def decide(self, topic: str, choose: Callable[[], str], *, lasting: bool = False) -> str:
        """The choice of rank 0 for all ranks; with `lasting`, the first choice also holds after a restart."""
        store = self._lasting if lasting else self.store
        if self.rank == 0 and not _there(store, topic):
            _put(store, topic, choose())
        self._wait(store, [topic])
        return store.get(topic).decode()

    def agree(self, topic: str, facts: Mapping[str, object] | None = None) -> None:
        """Waits for all ranks, and compares their `facts` with those of rank 0.

        Raises:
            UserError: facts differ, or another rank has a fault or does not come.
        """
        keys = [f"{topic}/{rank}" for rank in range(self.world)]
        given = {name: str(value) for name, value in (facts or {}).items()}
        _put(self.store, keys[self.rank], json.dumps([socket.gethostname(), given]))
        self._wait(self.store, keys)
        found = [json.loads(self.store.get(key)) for key in keys]
        problems = [problem for rank in range(1, self.world) for problem in _differences(rank, found[0], found[rank])]
        if problems:
            remedy = "start all ranks with the same command, files and versions"
            raise UserError("\n  ".join([f"the ranks differ in {topic}; {remedy}:", *shortened(problems, SHOWN)]))

    def claim(self) -> bool:
        """Whether this rank is the first that has something to say about the end of the run; ends `agree` elsewhere."""
        if self._said:
            return False
        self._said = True
        try:
            return self.store.add("said", 1) == 1
        except RuntimeError:  # the store has ended with torchrun
            return True

    def tell(self, text: str) -> None:
        """Writes the message of the run's end to stderr, unless a rank has written one.

        A thread that would end this process waits here until another thread has written the whole message.
        """
        with self._speaking:
            if self.claim():
                print(text, file=sys.stderr, flush=True)

    def stop(self, reason: str) -> None:
        """Ends this process, whatever it waits for, with a message of one rank."""
        self.tell(f"stopped: {reason}; -a in place of a new run goes on from the newest checkpoint")
        os._exit(1)

    def leave(self) -> None:
        """Waits for the other ranks to end as well, because torchrun stops them once this process has ended."""
        try:
            self.store.add("left", 1)
            end = time.monotonic() + (LEAVING_BEGUN if self.begun else LEAVING)
            while self.store.add("left", 0) < self.world and time.monotonic() < end:
                time.sleep(_PAUSE)
        except RuntimeError:  # the store has ended with torchrun
            return

    def _wait(self, store: Store, keys: list[str]) -> None:
        end = time.monotonic() + WAIT
        missing = list(enumerate(keys))
        while missing := [(rank, key) for rank, key in missing if not _there(store, key)]:
            if self.store.add("said", 0):
                raise UserError("another rank has ended; its message says why")
            if time.monotonic() > end:
                names = ", ".join(str(rank) for rank, _ in missing)
                raise UserError(f"rank {names} did not come within {WAIT / 60:.0f} minutes; start again")
            time.sleep(_PAUSE)


def present() -> Meeting | None:
    """The meeting of this process; None in a run that torchrun has not started."""
    return _present


def again() -> str:
    """Says that torchrun starts the ranks again after their end; empty if torchrun does not."""
    here = present()
    if here is None or here.attempt >= here.restarts:
        return ""
    return f"torchrun starts all ranks again ({here.attempt + 1} of {here.restarts} restarts)"


def enter() -> Meeting | None:
    """Opens the meeting of this process, if torchrun has started it.

    Raises:
        UserError: the environment names several ranks and is not that of torchrun, or the store cannot be reached.
    """
    global _present
    _present = None
    _present = _from_environment(os.environ)
    if _present is not None and _present.world > 1:
        _present.pulse = Pulse(_present.store, _present.rank, _present.world, _present.stop)
    return _present


def refuse_unjoined(world: int) -> None:
    """UserError if this process trains among `world` ranks and its environment names more.

    s3prl's own script starts such a process: each rank would train alone and write the files of the others.
    """
    named = named_world(os.environ)
    if world < named:
        raise UserError(
            f"WORLD_SIZE: found {named} in the environment, but s3prl's own script trains in one process; start "
            "the ranks with torchrun and the run_pretrain.py of this package, or unset WORLD_SIZE"
        )


def close() -> None:
    """Ends the meeting of this process."""
    global _present
    if _present is not None and _present.pulse is not None:
        _present.pulse.stop()
    _present = None


def named_world(environment: Mapping[str, str]) -> int:
    """The number of ranks that an environment names."""
    return _number(environment, "WORLD_SIZE", 1)


def _from_environment(environment: Mapping[str, str]) -> Meeting | None:
    world = named_world(environment)
    if world == 1 and "TORCHELASTIC_RUN_ID" not in environment:
        return None
    missing = [name for name in VARIABLES if name not in environment]
    if missing:
        raise UserError(
            f"WORLD_SIZE: found {world} in the environment without {', '.join(missing)}; start the ranks with "
            "torchrun, or unset WORLD_SIZE"
        )
    return Meeting(
        connect(environment),
        _number(environment, "RANK", 0),
        world,
        local_rank=_number(environment, "LOCAL_RANK", 0),
        local_world=_number(environment, "LOCAL_WORLD_SIZE", 1),
        attempt=_number(environment, "TORCHELASTIC_RESTART_COUNT", 0),
        restarts=_number(environment, "TORCHELASTIC_MAX_RESTARTS", 0),
    )


def connect(environment: Mapping[str, str]) -> Store:
    """A connection to the store of torchrun; without torchrun, rank 0 keeps the store.

    UserError: nothing answers there.
    """
    host, port = environment["MASTER_ADDR"], _number(environment, "MASTER_PORT", 0)
    keeps = environment["RANK"] == "0" and environment.get("TORCHELASTIC_USE_AGENT_STORE") != "True"
    try:
        return TCPStore(host, port, None, keeps, _CONNECTING, wait_for_workers=False, multi_tenant=True)
    except (RuntimeError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(
            f"MASTER_ADDR, MASTER_PORT: nothing answers at {host}:{port} ({reason}); start the ranks with torchrun"
        ) from error


def _number(environment: Mapping[str, str], name: str, default: int) -> int:
    given = environment.get(name, str(default))
    if not (given.isascii() and given.isdigit()):
        raise UserError(f"{name}: found {given!r} in the environment, expected a whole number; unset it")
    return int(given)


def _put(store: Store, key: str, text: str) -> None:
    store.set(key, text)
    store.add(f"{key} is there", 1)


def _there(store: Store, key: str) -> bool:
    """Whether `_put` has put a text; a count that nobody has begun is 0, and asking for it does not wait."""
    return int(store.add(f"{key} is there", 0)) > 0


def _differences(rank: int, first: list, other: list) -> Iterator[str]:
    (host, facts), (other_host, others) = first, other
    for name in sorted({*facts, *others}):
        ours, theirs = (found.get(name, "nothing") for found in (facts, others))
        if ours != theirs:
            yield f"{name}: found {ours} on rank 0 ({host}), {theirs} on rank {rank} ({other_host})"

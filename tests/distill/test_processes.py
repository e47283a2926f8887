"""Workers whose parent was killed."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.connection import Connection

import pytest

from s3prl_gendistiller.distill.processes import end_with_parent, follow_parent


def _own(pipe: Connection, initializer: object) -> None:
    pool = ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("fork"), initializer=initializer)  # type: ignore[arg-type]
    pipe.send([pool.submit(_identity, 0.3).result(), pool.submit(_identity, 0).result()])
    time.sleep(60)


def _identity(seconds: float) -> int:
    time.sleep(seconds)
    return os.getpid()


def _alive(process: int) -> bool:
    try:
        with open(f"/proc/{process}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("initializer", [end_with_parent, follow_parent])
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_workers_end_with_the_process_that_started_them(initializer: object, how: signal.Signals) -> None:
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    owner = context.Process(target=_own, args=(sender, initializer))
    owner.start()
    assert receiver.poll(20)
    workers = set(receiver.recv())
    assert owner.pid is not None and all(map(_alive, workers))
    os.kill(owner.pid, how)
    owner.join()
    for _ in range(100):
        if not any(map(_alive, workers)):
            return
        time.sleep(0.05)
    pytest.fail("a worker outlived its parent")

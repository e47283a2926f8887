"""What ranks tell one another, without processes: each rank in a thread, or one after another."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch.distributed as dist

from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.host import meeting, process_group, pulse
from s3prl_gendistiller.host.meeting import Meeting


def ranks(store: Any, world: int, **options: int) -> list[Meeting]:
    return [Meeting(store, rank, world, **options) for rank in range(world)]


def agreed(facts: list[dict[str, object]]) -> list[str]:
    """What each rank of one meeting is told; empty where all agree."""

    def ask(here: Meeting) -> str:
        try:
            here.agree("files", facts[here.rank])
        except UserError as error:
            return str(error)
        return ""

    with ThreadPoolExecutor(len(facts)) as threads:
        return list(threads.map(ask, ranks(dist.HashStore(), len(facts))))


def test_equal_facts_agree_and_others_are_named_on_every_rank() -> None:
    assert agreed([{"a": 1, "b": None}, {"a": 1, "b": None}]) == ["", ""]
    first, second, third = agreed([{"a": 1, "b": 2}, {"a": 1, "b": 2}, {"a": 3, "c": 4}])
    assert first == second == third and first.startswith("the ranks differ in files; start all ranks with the same")
    assert "a: found 1 on rank 0" in first and "3 on rank 2" in first and "rank 1" not in first
    assert "b: found 2" in first and "nothing on rank 2" in first and "c: found nothing on rank 0" in first


def test_a_rank_that_does_not_come_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meeting, "WAIT", 0.1)
    with pytest.raises(UserError, match="rank 1 did not come within"):
        Meeting(dist.HashStore(), 0, 2).agree("files")


def test_one_rank_speaks_and_the_others_stop_waiting(capsys: pytest.CaptureFixture[str]) -> None:
    first, second = ranks(dist.HashStore(), 2)
    second.tell("error: first")
    second.tell("error: again")
    first.tell("error: second")
    assert capsys.readouterr().err == "error: first\n"
    with pytest.raises(UserError, match="another rank has ended"):
        first.agree("files")


def test_a_thread_that_ends_the_process_waits_for_the_message_of_another(capsys: pytest.CaptureFixture[str]) -> None:
    here = Meeting(SlowStore(), 0, 2)
    speaking = threading.Thread(target=here.tell, args=("error: first",))
    speaking.start()
    while not here._said:
        time.sleep(0.001)
    here.tell("stopped: second")  # torchrun's SIGTERM arrives; the process ends behind this line
    assert capsys.readouterr().err == "error: first\n"
    speaking.join()


class SlowStore(dist.HashStore):
    """A store whose answer takes a while."""

    def add(self, key: str, value: int) -> int:
        time.sleep(0.2)
        return super().add(key, value)


def test_a_rank_speaks_although_the_store_has_ended(capsys: pytest.CaptureFixture[str]) -> None:
    store = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    client = dist.TCPStore("127.0.0.1", store.port, is_master=False, wait_for_workers=False)
    here = Meeting(client, 1, 2)
    del store
    here.tell("error: alone")
    here.leave()
    assert capsys.readouterr().err == "error: alone\n"


def test_rank_0_decides_and_what_lasts_outlives_a_restart() -> None:
    store = dist.HashStore()
    first, second = ranks(store, 2)
    assert first.decide("run", lambda: "x", lasting=True) == second.decide("run", lambda: "y", lasting=True) == "x"
    assert first.decide("step", lambda: "1") == second.decide("step", lambda: "2") == "1"
    again = Meeting(store, 0, 2, attempt=1)
    assert again.decide("run", lambda: "z", lasting=True) == "x" and again.decide("step", lambda: "3") == "3"


def test_rank_0_writes_its_log_and_others_name_bad_files_of_their_share(monkeypatch: pytest.MonkeyPatch) -> None:
    def line(name: str, level: int) -> str:
        record = logging.LogRecord(f"s3prl_gendistiller.{name}", level, "", 0, "skipped %s", ("x",), None)
        return record.getMessage() if process_group.speaks(record) else ""

    for rank, expected in ((0, ["skipped x"] * 3), (1, ["", "", "rank 1: skipped x"])):
        monkeypatch.setattr(meeting, "_present", SimpleNamespace(rank=rank))
        given = [("cli.launch", logging.WARNING), ("distill.data", logging.INFO), ("distill.data", logging.WARNING)]
        assert [line(*record) for record in given] == expected


def test_the_end_of_another_rank_is_told_from_a_fault_of_this_one(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = RuntimeError("[pair.cc:534] Connection closed by peer [127.0.0.1]:2345")
    assert not process_group.lost_rank(broken)  # one process
    monkeypatch.setattr(process_group.ranks, "world", lambda: 2)
    assert process_group.lost_rank(broken) and process_group.lost_rank(dist.DistBackendError("watchdog"))
    assert not process_group.lost_rank(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    assert not process_group.lost_rank(ValueError("Connection closed by peer"))


def ended(call: Callable[[], None], error: Path, stop: bool) -> int | None:
    """Exit status of a forked process that calls `call`, with or without SIGTERM once the call has begun."""
    begun, beginning = os.pipe()

    def run() -> None:
        with (
            error.open("w", buffering=1) as sys.stderr,
            process_group.told_of_sigterm(Meeting(dist.HashStore(), 0, 2), lambda: "-e run goes on"),
        ):
            os.write(beginning, b".")
            call()

    process = multiprocessing.get_context("fork").Process(target=run)
    process.start()
    os.read(begun, 1)
    if stop:
        os.kill(process.pid or 0, signal.SIGTERM)
    process.join(60)
    process.kill()
    return process.exitcode


def test_sigterm_ends_a_rank_with_one_message_and_its_workers_without_the_rank(tmp_path: Path) -> None:
    error = tmp_path / "stderr"

    def wait_for_a_worker() -> None:
        """As the loader's processes, which the loader ends with SIGTERM."""
        worker = multiprocessing.get_context("fork").Process(target=time.sleep, args=(600,))
        worker.start()
        worker.terminate()
        worker.join(60)
        assert worker.exitcode == -signal.SIGTERM
        left = os.fork()  # still there when the block ends
        if left == 0:
            time.sleep(2)
            os._exit(0)

    assert ended(wait_for_a_worker, error, stop=False) == 0 and error.read_text() == ""
    assert ended(lambda: time.sleep(600), error, stop=True) == process_group.TERMINATED
    assert error.read_text().count("\n") == 1 and "-e run goes on" in error.read_text()


def test_a_rank_without_a_sign_of_life_ends_the_others_and_one_that_is_done_does_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pulse, "EVERY", 0.02)
    monkeypatch.setattr(pulse, "LOST_AFTER", 0.5)
    store = dist.HashStore()
    found: list[str] = []
    lost = threading.Event()

    def end(reason: str) -> None:
        found.append(reason)
        lost.set()

    first = pulse.Pulse(store, 0, 3, end)  # rank 2 has not started yet
    pulse.Pulse(store, 1, 3, end).stop()
    assert not lost.wait(1.5)
    store.add("pulse/2", 7)  # and never again
    assert lost.wait(20) and found == ["rank 2 has given no sign of life for 0 seconds"]
    first.stop()


def test_a_store_that_does_not_answer_ends_a_rank(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pulse, "EVERY", 0.02)
    monkeypatch.setattr(pulse, "LOST_AFTER", 0.3)
    found: list[str] = []
    lost = threading.Event()

    class Gone:
        def add(self, key: str, value: int) -> int:
            raise dist.DistNetworkError("Broken pipe")

    watch = pulse.Pulse(Gone(), 0, 2, lambda reason: (found.append(reason), lost.set())[0])
    assert lost.wait(20) and "the store of torchrun has not answered" in found[0] and "Broken pipe" in found[0]
    watch.stop()

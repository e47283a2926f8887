"""One command on a host: its output, its ending, and that it has its folder to itself."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.superb.cluster import host_run
from s3prl_gendistiller.superb.cluster.host_run import LACKING, SUPERSEDED, Order, end_runs, outcome, run_on_host
from s3prl_gendistiller.superb.cluster.probe import PROBE, Needed, read_probe, write_probe
from s3prl_gendistiller.superb.cluster.ticket import new_ticket, read_ending, ticket_file, write_ticket

PLACE = "tests.superb.cluster.commands"


def order_of(log: Path, command: str, *arguments: str) -> Order:
    ticket = write_ticket(log, new_ticket(arguments, "slurm"))
    environment = (("SUPERB_DATA", "/data"),)
    return Order(
        ticket.order, f"{PLACE}:{command}", arguments, str(log), 3, str(log.parent), environment, imported=PLACE
    )


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "superb_train.log"


def test_a_command_leaves_its_output_and_its_ending(log: Path) -> None:
    order = order_of(log, "say", "-m", "train", "-a")
    log.write_text("before\n")
    assert outcome(order) is None
    assert run_on_host(order) == 0
    line = f"-m train -a /data 3 {log.parent}"
    assert log.read_text() == f"before\n$ run_downstream.py -m train -a\n{line}\n"
    assert log.with_suffix(".err").read_text() == "a message\n"
    ending = outcome(order)
    assert ending is not None and ending.status == 0 and ending == read_ending(log, order.order)


def test_a_test_begins_its_log_anew(log: Path) -> None:
    order = order_of(log, "say", "-m", "evaluate")
    log.write_text("before\n")
    assert run_on_host(order) == 0 and log.read_text().startswith("$ run_downstream.py -m evaluate\n")


def test_an_order_is_carried_out_once(log: Path) -> None:
    order = order_of(log, "say", "-a")
    assert run_on_host(order) == run_on_host(order) == 0
    assert log.read_text().count("$ run_downstream.py") == 1


def test_an_order_that_was_given_up_does_nothing(log: Path) -> None:
    order = order_of(log, "say", "-a")
    order_of(log, "say", "-b")
    assert run_on_host(order) == SUPERSEDED and not log.exists()


def test_a_host_that_lacks_something_does_not_start_the_run(log: Path) -> None:
    sent = write_probe(log.parent, [Needed("--student mine", str(log.parent / "states-1.ckpt"), 5)])
    order = replace(order_of(log, "say", "-a"), probe=str(log.parent / PROBE))
    assert run_on_host(order) == LACKING and not log.exists()
    with pytest.raises(UserError, match=r"was not started on .*: --student mine .*: found nothing that can be read"):
        outcome(order)
    (log.parent / "states-1.ckpt").write_bytes(b"12345")
    again = replace(order_of(log, "say", "-a"), probe=str(log.parent / PROBE))
    assert run_on_host(again) == 0 and outcome(again) is not None
    assert read_probe(log.parent / PROBE) == sent


def test_a_failure_is_told_in_the_words_of_the_launcher(log: Path) -> None:
    order = order_of(log, "fail")
    assert run_on_host(order) == 2
    with pytest.raises(UserError, match=r"ended with status 2: error: -k: nothing there \(all messages: .*\.err\)"):
        outcome(order)


def test_a_command_that_was_killed_is_carried_out_again(log: Path) -> None:
    order = order_of(log, "be_killed", "-a")
    assert run_on_host(order) == run_on_host(order) == -signal.SIGKILL
    assert outcome(order) is None and log.read_text().count("$ run_downstream.py") == 2


def test_a_host_that_does_not_see_the_folder_says_so(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_run, "SEEN_WITHIN_S", 0.0)
    order = order_of(log, "say")
    ticket_file(log).unlink()
    with pytest.raises(UserError, match=r"job\.json: not seen on .*; give an --out that all hosts share"):
        run_on_host(order)
    assert not log.exists()


def wait_until(true: Callable[[], bool]) -> None:
    until = time.monotonic() + 30
    while not true():
        assert time.monotonic() < until
        time.sleep(0.02)


def test_a_second_job_of_an_order_waits_for_the_first_and_then_has_nothing_to_do(log: Path) -> None:
    end = log.parent / "end"
    order = order_of(log, "wait_for_a_file", "-a", str(end))
    context = multiprocessing.get_context("spawn")
    first, second = (context.Process(target=run_on_host, args=(order,)) for _ in range(2))
    first.start()
    wait_until(lambda: log.exists() and "began" in log.read_text())
    second.start()
    second.join(1.2)
    assert second.is_alive()
    end.touch()
    for process in (first, second):
        process.join(30)
    assert log.read_text().count("began") == 1 and outcome(order) is not None


def run_until_told(order: Order) -> None:
    def told(*_: object) -> None:
        end_runs()
        raise SystemExit(3)

    signal.signal(signal.SIGUSR2, told)
    run_on_host(order)


def test_a_cluster_that_takes_its_host_back_ends_the_command_and_leaves_no_ending(log: Path) -> None:
    order = order_of(log, "wait_for_a_file", "-a", str(log.parent / "never"))
    process = multiprocessing.get_context("spawn").Process(target=run_until_told, args=(order,))
    process.start()
    wait_until(lambda: log.exists() and "began" in log.read_text())
    os.kill(process.pid or 0, signal.SIGUSR2)
    process.join(30)
    assert process.exitcode == 3 and outcome(order) is None and read_ending(log, order.order) is None

"""A job that has ended its command takes another one, or closes."""

from __future__ import annotations

import os
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from s3prl_gendistiller.superb.cluster import handover
from s3prl_gendistiller.superb.cluster.handover import hand_over, orders
from s3prl_gendistiller.superb.cluster.host_run import Order


@pytest.fixture
def first(tmp_path: Path) -> Order:
    return Order("one", "place:main", ("-m", "train"), str(tmp_path / "runs/ks/superb_train.log"), 1, str(tmp_path))


class Job:
    """A job in a thread, whose commands take no time."""

    def __init__(self, first: Order, folder: Path) -> None:
        self.done: list[Order] = []
        self._thread = threading.Thread(target=lambda: self.done.extend(orders(first, folder, "7")))
        self._thread.start()

    def wait(self) -> list[Order]:
        self._thread.join(30)
        assert not self._thread.is_alive()
        return self.done


def wait_for_offer(folder: Path) -> Path:
    """The offer of the job in `Job`, once it is there."""
    offer = folder / "7.offer.json"
    while not offer.exists():
        time.sleep(0.01)
    return offer


def given_within(seconds: float, order: Order, folder: Path) -> str | None:
    until = time.monotonic() + seconds
    while (job := hand_over(order, folder)) is None and time.monotonic() < until:
        time.sleep(0.01)
    return job


def test_the_test_of_a_run_follows_its_training_in_one_job(
    first: Order, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handover, "OFFER_S", 1.0)
    second = replace(first, order="two", arguments=("-m", "evaluate"), log=first.log.replace("train", "test"))
    assert hand_over(second, tmp_path) is None
    job = Job(first, tmp_path)
    assert given_within(10, replace(second, main="another:place", gpu=True), tmp_path) == "7"
    assert job.wait() == [first, second]  # what runs is the job's own, whatever the file says
    assert not list(tmp_path.glob("7.*")) and hand_over(second, tmp_path) is None


def test_an_old_job_takes_commands_of_its_own_run_alone(
    first: Order, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handover, "OFFER_S", 1.0)
    monkeypatch.setattr(handover, "SHARED_S", -1.0)
    job = Job(first, tmp_path)
    assert given_within(0.5, replace(first, order="two", log=str(tmp_path / "runs/er/x.log")), tmp_path) is None
    assert given_within(10, replace(first, order="three"), tmp_path) == "7"
    assert [order.order for order in job.wait()] == ["one", "three"]


def test_a_job_is_given_one_order_of_several_threads(
    first: Order, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handover, "OFFER_S", 0.5)
    job = Job(first, tmp_path)
    wait_for_offer(tmp_path)
    found: list[str | None] = []
    threads = [
        threading.Thread(target=lambda n=n: found.append(hand_over(replace(first, order=f"of {n}"), tmp_path)))
        for n in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found, key=str) == ["7", None, None, None] and len(job.wait()) == 2


def test_an_offer_of_a_job_that_was_killed_is_not_taken(first: Order, tmp_path: Path) -> None:
    offer = tmp_path / "7.offer.json"
    offer.write_text('{"folder": ""}')
    before = time.time() - handover.OFFER_S - 1
    os.utime(offer, (before, before))
    assert hand_over(first, tmp_path) is None and not offer.exists()


def test_a_job_whose_controller_died_before_it_wrote_the_order_ends(
    first: Order, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handover, "DELIVERED_WITHIN_S", 0.2)
    job = Job(first, tmp_path)
    wait_for_offer(tmp_path).rename(tmp_path / "7.taken")
    assert job.wait() == [first]

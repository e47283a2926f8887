"""The files of a job beside the log of its run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.superb.cluster.ticket import (
    Ending,
    digest,
    ending_file,
    new_ticket,
    read_ending,
    read_ticket,
    ticket_file,
    write_ending,
    write_ticket,
)


def test_a_ticket_and_an_ending_are_read_as_they_were_written(tmp_path: Path) -> None:
    log = tmp_path / "superb_train.log"
    assert read_ticket(log) is None and read_ending(log, "any") is None
    ticket = replace(write_ticket(log, new_ticket(["-m", "train"], "slurm")), job="12", repeats=1)
    assert write_ticket(log, ticket) == read_ticket(log) and ticket_file(log).name == "superb_train.job.json"
    ending = write_ending(log, Ending(ticket.order, ticket.arguments, -9, "here"))
    assert read_ending(log, ticket.order) == ending and ending.killed
    assert read_ending(log, "another order") is None and ending_file(log).name == "superb_train.ended.json"


def test_orders_differ_and_arguments_are_compared_word_by_word() -> None:
    assert new_ticket(["a"], "slurm").order != new_ticket(["a"], "slurm").order
    assert digest(["a", "b"]) == digest(["a", "b"]) != digest(["a b"])


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"order": 1}', '{"order": "x"', '{"order": "x", "job": "1"}'])
def test_a_broken_ticket_is_named(tmp_path: Path, text: str) -> None:
    log = tmp_path / "superb_train.log"
    ticket_file(log).write_text(text)
    with pytest.raises(UserError, match=r"superb_train\.job\.json.*emove the file, if no job of that run is left"):
        read_ticket(log)

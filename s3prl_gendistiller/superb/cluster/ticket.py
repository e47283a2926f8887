"""Two small files beside the log of a run: the ticket of a job that runs it, and the ending that the host has written.

The controller writes the ticket before it submits a job, and replaces it with each repeat. A job whose order is not
that of the ticket does nothing, so that a job that nobody remembers cannot run a command again. The host writes the
ending whole when the run has ended.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

from s3prl_gendistiller.documents import read_json
from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.outputs import write_text

T = TypeVar("T", "Ticket", "Ending")


@dataclass(frozen=True)
class Ticket:
    """The job of a run.

    Attributes:
        order: name of the order, drawn at random; all repeats of a job carry out one order.
        arguments: `digest` of the arguments of run_downstream.py.
        engine: name of the engine that submitted the job.
        job: number of the job; empty between the decision to submit the job and its submission.
        repeats: how often the job was submitted again without a new checkpoint.
    """

    order: str
    arguments: str
    engine: str
    job: str = ""
    repeats: int = 0


@dataclass(frozen=True)
class Ending:
    """How a run ended.

    Attributes:
        order: of the ticket.
        arguments: `digest` of the arguments of run_downstream.py.
        status: exit status; below 0 the number of the signal that killed the run.
        host: name of the host.
        problem: why the host did not start the run; empty if it did.
    """

    order: str
    arguments: str
    status: int
    host: str
    problem: str = ""

    @property
    def killed(self) -> bool:
        """Whether the run was ended from outside, so that it is to be repeated."""
        return self.status < 0


def new_ticket(arguments: Sequence[str], engine: str) -> Ticket:
    return Ticket(secrets.token_hex(8), digest(arguments), engine)


def digest(arguments: Sequence[str]) -> str:
    """A short hash of arguments."""
    return hashlib.sha256("\0".join(arguments).encode()).hexdigest()[:16]


def ticket_file(log: Path) -> Path:
    return log.with_suffix(".job.json")


def ending_file(log: Path) -> Path:
    return log.with_suffix(".ended.json")


def read_ticket(log: Path) -> Ticket | None:
    """The ticket beside a log, if there is one; UserError if it is broken."""
    return _read(ticket_file(log), Ticket)


def read_ending(log: Path, order: str) -> Ending | None:
    """The ending of an order, once the host has written it."""
    found = _read(ending_file(log), Ending)
    return found if found is not None and found.order == order else None


def write_ticket(log: Path, ticket: Ticket) -> Ticket:
    _write(ticket_file(log), ticket)
    return ticket


def write_ending(log: Path, ending: Ending) -> Ending:
    _write(ending_file(log), ending)
    return ending


def give_up(log: Path, order: str) -> None:
    """Removes the ticket of a job that has ended for good, unless its command has an ending to be taken."""
    found, ending = read_ticket(log), read_ending(log, order)
    if found is not None and found.order == order and (ending is None or ending.killed):
        ticket_file(log).unlink(missing_ok=True)


def _write(path: Path, content: Ticket | Ending) -> None:
    write_text(path, json.dumps(asdict(content), indent=2) + "\n")


def _read(path: Path, kind: type[T]) -> T | None:
    try:
        found: Any = read_json(path)
    except UserError as error:
        if not path.exists():
            return None
        raise UserError(f"{error}. Remove the file, if no job of that run is left") from error
    types = {field.name: int if field.type == "int" else str for field in fields(kind)}
    if not isinstance(found, dict) or {name: type(value) for name, value in found.items()} != types:
        raise UserError(f"{path}: expected {', '.join(types)}; remove the file, if no job of that run is left")
    return kind(**found)

"""NIST's RTTM: lines of type, recording, channel, start, duration, word, -, speaker, with times in seconds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from s3prl_gendistiller.distill.files import read_text
from s3prl_gendistiller.errors import UserError

SPEAKER = "SPEAKER RECORDING 1 START SECONDS <NA> <NA> NAME"
LEXEME = "LEXEME DOCUMENT 1 START SECONDS QUERY"


class Turn(NamedTuple):
    """One stretch of speech of one speaker."""

    speaker: str
    start_s: float
    end_s: float


def read_turns(path: Path) -> dict[str, list[Turn]]:
    """Recording -> turns, from the lines of type SPEAKER; UserError where such a line is broken."""
    found: dict[str, list[Turn]] = {}
    for where, line in _lines(path, SPEAKER):
        fields = line.split()
        try:
            start_s, duration_s = float(fields[3]), float(fields[4])
        except ValueError:
            raise UserError(f"{where}: found {line!r}, expected {SPEAKER}") from None
        found.setdefault(fields[1], []).append(Turn(fields[7], start_s, start_s + duration_s))
    return found


def read_occurrences(path: Path) -> dict[str, set[str]]:
    """Query -> the documents in which the query occurs, from the lines of type LEXEME; raises as `read_turns`."""
    found: dict[str, set[str]] = {}
    for _, line in _lines(path, LEXEME):
        fields = line.split()
        found.setdefault(fields[5], set()).add(fields[1])
    return found


def _lines(path: Path, form: str) -> Iterator[tuple[str, str]]:
    """The place and the text of each line of the type of a form, such as `SPEAKER`."""
    wanted = form.split()
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        fields = line.split()
        if fields[:1] == wanted[:1]:
            if len(fields) < len(wanted):
                raise UserError(f"{path} line {number}: found {line!r}, expected {form}")
            yield f"{path} line {number}", line

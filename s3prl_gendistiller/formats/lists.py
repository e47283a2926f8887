"""Lists in text files: lines of fields between spaces, and CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path

from s3prl_gendistiller.distill.files import csv_reader, read_text


def full_lines(path: Path) -> list[str]:
    """The lines of a text file, with their ends, but without the empty lines, which s3prl's readers skip as well.

    Raises:
        UserError: as `read_text`.
    """
    return [line for line in io.StringIO(read_text(path)) if line.strip()]


def read_csv(path: Path) -> csv.DictReader[str]:
    """The rows of a CSV file by column.

    Raises:
        UserError: as `read_text` and `csv_reader`.
    """
    return csv_reader(path, io.StringIO(read_text(path)))


def misshapen_line(path: Path, fields: int, expected: str) -> Iterator[str]:
    """A message on the first line of a list that has another number of fields.

    Args:
        fields: their number.
        expected: the form of a line, for the message.
    """
    for number, line in enumerate(full_lines(path), start=1):
        if len(line.split()) != fields:
            yield f"{path} line {number}: found {line.strip()!r}, expected {expected}"
            return

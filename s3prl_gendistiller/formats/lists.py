"""Lists in text files: lines of fields between spaces, CSV, and tables of lines NAME REST.

Such tables are Kaldi's segments, utt2spk, reco2dur and wav.scp, and files of transcripts.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path

from s3prl_gendistiller.distill.files import csv_reader, read_text


def full_lines(path: Path) -> list[str]:
    """The lines of a text file, with their ends, but without the empty lines, which s3prl's readers skip as well.

    Every reader of this module raises UserError as `read_text`.
    """
    return [line for line in io.StringIO(read_text(path)) if line.strip()]


def read_table(path: Path, separator: str | None = None) -> list[tuple[str, str]]:
    """The name and the rest of each line, white space between; in transcripts of LibriSpeech and SNIPS one space."""
    rows = (line.strip().split(separator, 1) for line in full_lines(path))
    return [(row[0], row[1].strip() if len(row) > 1 else "") for row in rows]


def read_csv(path: Path) -> csv.DictReader[str]:
    """The rows of a CSV file by column; raises as `csv_reader` too."""
    return csv_reader(path, io.StringIO(read_text(path)))


def misshapen_line(path: Path, fields: int, expected: str) -> Iterator[str]:
    """A message on the first line of a list that has another number of fields; `expected` is the form of a line."""
    for number, line in enumerate(full_lines(path), start=1):
        if len(line.split()) != fields:
            yield f"{path} line {number}: found {line.strip()!r}, expected {expected}"
            return

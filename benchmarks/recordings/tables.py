"""Tables of recordings: `digits.csv` and `orders.csv`, with the recordings in folders beside them.

Both have the columns `file` (below their folder), `split` (train, dev or test) and `num_samples`.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from s3prl_gendistiller.distill.files import csv_reader, within
from s3prl_gendistiller.errors import UserError

SPLITS = ("train", "dev", "test")
PLAIN = re.compile(r"[\w-]{1,64}")
"""Names that can stand in a path as they are."""


def read_table(folder: Path, name: str, columns: Sequence[str]) -> list[dict[str, str]]:
    """The rows of a table by column; `file` becomes the path of an existing file.

    Args:
        folder: of the table, as the flag --real names it.
        columns: that the rows must have besides `file` and `split`.

    Raises:
        UserError: no such folder or table, a column is missing, or a row is wrong.
    """
    if not folder.is_dir():
        raise UserError(f"--real: {folder}: no such folder; expected one with digits.csv and orders.csv")
    path = folder / name
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            reader = csv_reader(path, file)
            absent = [column for column in ("file", "split", *columns) if column not in (reader.fieldnames or [])]
            rows = list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        found = "no such file" if isinstance(error, FileNotFoundError) else f"cannot be read ({error})"
        raise UserError(f"--real: {path}: {found}; expected a table of recordings; correct the folder") from None
    if absent or not rows:
        raise UserError(f"--real: {path}: no {'column ' + absent[0] if absent else 'rows'}; correct the table")
    for line, row in enumerate(rows, start=2):
        _check_row(folder, f"--real: {path} line {line}", row, columns)
    twice = [file for file, count in Counter(row["file"] for row in rows).items() if count > 1]
    if twice:
        raise UserError(f"--real: {path}: names {twice[0]} more than once; keep one line of each file")
    return rows


def summary(rows: Sequence[Mapping[str, str]]) -> dict[str, int]:
    """Numbers of recordings in each split, for the stamp of a corpus."""
    return dict(sorted(Counter(row["split"] for row in rows).items()))


def _check_row(folder: Path, where: str, row: dict[str, str], columns: Sequence[str]) -> None:
    """
    Raises:
        UserError: the row lacks a field, or a part of a path is no plain name.
    """
    if None in row or None in row.values():
        raise UserError(f"{where}: found more or fewer fields than columns; correct the table")
    if row["split"] not in SPLITS:
        raise UserError(f"{where}: split is {row['split']!r}, expected {', '.join(SPLITS)}")
    if "word" in columns and not PLAIN.fullmatch(row["word"]):
        raise UserError(f"{where}: word is {row['word']!r}, expected letters, digits, _ and -, 64 at most")
    if "speaker" in columns and not (row["speaker"].strip() and row["speaker"].isprintable()):
        raise UserError(f"{where}: speaker is {row['speaker']!r}, expected a name in printable characters")
    row["file"] = str(within(folder, row["file"], where))
    if not Path(row["file"]).is_file():
        raise UserError(f"{where}: no such file: {row['file']}; repair the table or the folder")

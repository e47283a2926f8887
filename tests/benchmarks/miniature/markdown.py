"""The tables of a text, as a reader sees them."""

from __future__ import annotations


def read(text: str) -> list[list[dict[str, str]]]:
    """For each table its rows, column -> cell."""
    found = []
    for block in text.split("\n\n"):
        if block.startswith("|"):
            header, _, *rows = ([cell.strip() for cell in line.split("|")[1:-1]] for line in block.strip().splitlines())
            found.append([dict(zip(header, row, strict=True)) for row in rows])
    return found

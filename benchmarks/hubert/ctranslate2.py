"""Models in CTranslate2's file format, read without CTranslate2: `model.bin`, whole or in parts.

The format (version 6, little endian): version; name and revision of the model's specification; variables, each with
name, shape, type and data; aliases of variables.
"""

from __future__ import annotations

import re
import struct
from pathlib import Path

import numpy as np

from s3prl_gendistiller.errors import UserError

MODEL = "model.bin"
VERSION = 6
_TYPES = (np.dtype("<f4"), np.dtype("i1"), np.dtype("<i2"), np.dtype("<i4"), np.dtype("<f2"))
_PART = re.compile(rf"{re.escape(MODEL)}\.part(\d+)")


class _Ended(Exception):
    """The content ends before what is read."""


class _Reader:
    """A position in the content of a file."""

    def __init__(self, content: bytes) -> None:
        self.content, self.place = content, 0

    def take(self, count: int) -> bytes:
        start, self.place = self.place, self.place + count
        if self.place > len(self.content):
            raise _Ended
        return self.content[start : self.place]

    def number(self, code: str) -> int:
        """An unsigned number, by its code in `struct`."""
        return int(struct.unpack(f"<{code}", self.take(struct.calcsize(f"<{code}")))[0])

    def string(self) -> str:
        return self.take(self.number("H")).rstrip(b"\0").decode("utf-8", errors="replace")


def read_variables(folder: Path, specification: str, prefix: str) -> dict[str, np.ndarray]:
    """Variables of the model in a folder or below it, by name.

    Args:
        folder: holds `model.bin`, or its parts `model.bin.part1` and so on, in one folder or in several.
        specification: name of the kind of model, such as "WhisperSpec".
        prefix: of the variables to return; the names in the result are without it.

    Raises:
        UserError: the file or a part is missing, ends early, or is of another format, version or kind of model.
    """
    files = _model_files(folder)
    where = " + ".join(file.name for file in files) + f" in {folder}"
    try:
        reader = _Reader(b"".join(file.read_bytes() for file in files))
    except OSError as error:
        raise UserError(f"{where}: cannot be read ({error.strerror or error})") from error
    found: dict[str, np.ndarray] = {}
    name = "the header"
    try:
        version = reader.number("I")
        if version != VERSION:
            raise UserError(f"{where}: found format version {version}, expected version {VERSION} of CTranslate2")
        kind = reader.string()
        if kind != specification:
            raise UserError(f"{where}: holds a model of the kind {kind[:40]!r}, expected {specification!r}")
        reader.number("I")  # revision of the specification
        for _ in range(reader.number("I")):
            name = reader.string()
            shape = tuple(reader.number("I") for _ in range(reader.number("B")))
            code, size = reader.number("B"), reader.number("I")
            data = reader.take(size)
            if not name.startswith(prefix):
                continue
            if code >= len(_TYPES) or size != _TYPES[code].itemsize * int(np.prod(shape, dtype=np.int64)):
                raise UserError(f"{where}: {name} has type {code}, shape {shape} and {size} bytes, which do not agree")
            found[name.removeprefix(prefix)] = np.frombuffer(data, _TYPES[code]).reshape(shape)
        name = "the list of aliases"
        for _ in range(2 * reader.number("I")):
            reader.string()
    except _Ended:
        raise UserError(
            f"{where}: ends after {len(reader.content)} bytes, within {name}; a part is missing or cut short; "
            "download the packages again"
        ) from None
    return found


def _model_files(folder: Path) -> list[Path]:
    """The files that make up `model.bin`, in order.

    Raises:
        UserError: there is none, a part is missing, or there are two files for one part.
    """
    whole = sorted(folder.rglob(MODEL))
    parts: dict[int, list[Path]] = {}
    for path in sorted(folder.rglob(f"{MODEL}.part*")):
        match = _PART.fullmatch(path.name)
        if match:
            parts.setdefault(int(match[1]), []).append(path)
    missing = [str(number) for number in range(1, max(parts, default=0) + 1) if number not in parts]
    twice = whole if len(whole) > 1 else next((paths for paths in parts.values() if len(paths) > 1), [])
    if twice and (parts or len(whole) > 1):
        raise UserError(f"{folder}: found both {twice[0]} and {twice[1]}, expected one of them; remove the other")
    if whole:
        return whole
    if missing:
        raise UserError(f"{folder}: {MODEL}.part{missing[0]} is missing, part {max(parts)} is there; add the part")
    if not parts:
        raise UserError(f"{folder}: found no {MODEL} and no {MODEL}.part1, expected a model in CTranslate2's format")
    return [parts[number][0] for number in sorted(parts)]

"""Checks, before the work begins, that a command can write its output."""

from __future__ import annotations

import tempfile
from pathlib import Path

from s3prl_gendistiller.errors import UserError


def check_writable(path: Path, flag: str, *, folder: bool) -> None:
    """Writes one byte to a temporary file in the nearest existing folder; no folder is made.

    Args:
        path: the file or folder that the command will write.
        flag: flag that names `path`, for the message.
        folder: whether `path` is a folder; otherwise its parent is tried.

    Raises:
        UserError: `path` is a file in place of a folder or the reverse, or nothing can be written there.
    """
    try:
        if not folder and path.is_dir():
            raise UserError(f"{flag} {path}: found a folder, expected the name of a file; add one")
        there = path if folder else path.parent
        while not there.exists() and not there.is_symlink():
            there = there.parent
        if not there.is_dir():
            raise UserError(f"{flag} {path}: found a file at {there}, expected a folder; give another place")
        with tempfile.TemporaryFile(dir=there) as probe:
            probe.write(b"\n")
    except OSError as error:
        raise UserError(
            f"{flag} {path}: nothing can be written there ({error.strerror or error}); give another place"
        ) from error

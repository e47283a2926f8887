"""Whether something can be written where a command is to write, found out before the work."""

from __future__ import annotations

import tempfile
from pathlib import Path

from s3prl_gendistiller.errors import UserError


def check_writable(path: Path, flag: str, *, folder: bool) -> None:
    """Tries the nearest folder that is there with a byte; nothing is made.

    Args:
        path: of the file or folder to be written.
        flag: that names it, for the message.
        folder: whether `path` is a folder; else its parent takes the file.

    Raises:
        UserError: a file stands where a folder is to be or the reverse, or the folder takes no files.
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

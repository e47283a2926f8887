"""One process at a time in a folder; a lock goes with the process that holds it, however that ends."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from s3prl_gendistiller.errors import UserError


@contextlib.contextmanager
def locked(folder: Path, name: str, who: str, *, inherited: bool = False) -> Iterator[int]:
    """Keeps a second process out of a folder, which is made if need be.

    Args:
        name: of the file that is locked; it stays.
        who: holds the lock if it is not free, and what to do, for the message.
        inherited: forked processes hold the lock as well, until the last of them has ended; else they do not, so that
            a process that reads data for a killed run keeps nobody out.

    Yields:
        The lock's file descriptor.

    Raises:
        UserError: the lock is not free, or the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        reason = error.strerror or error
        raise UserError(f"{folder}: cannot be written ({reason}); give a folder that is yours") from error
    held = True

    def forget() -> None:
        if held:
            os.close(descriptor)

    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(f"{folder}: {who}") from error
        if not inherited:
            os.register_at_fork(after_in_child=forget)
        yield descriptor
    finally:
        held = False
        os.close(descriptor)

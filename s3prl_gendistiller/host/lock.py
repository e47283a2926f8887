"""One process at a time in a folder; the kernel frees the lock when the process ends, even if it is killed."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from s3prl_gendistiller.errors import UserError


@contextlib.contextmanager
def locked(folder: Path, name: str, who: str, *, inherited: bool = False) -> Iterator[int]:
    """Locks a folder, which is made if missing, against a second process; yields the lock's file descriptor.

    Args:
        name: name of the lock file, which stays in the folder.
        who: text about the holder of a lock that is not free, and advice, for the message of the UserError.
        inherited: forked processes also hold the lock, until the last of them ends. Otherwise they do not, so that a
            worker process of a killed run does not hold the lock.
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

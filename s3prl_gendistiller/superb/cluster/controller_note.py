"""The note of the controller in a suite's folder, for controllers on other hosts.

A lock of the kernel is seen on its own host; whether it is seen on others depends on the disk that they share.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

from s3prl_gendistiller.documents import read_json
from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.outputs import write_text

NOTE = ".superb_controller.json"
BEAT_S = 15.0
SILENT_S = 90.0
"""Age of a note whose controller is taken for ended."""


@contextlib.contextmanager
def announced(folder: Path, beat_s: float = BEAT_S) -> Iterator[None]:
    """Keeps a fresh note in a folder as long as the block lasts; to be used within the lock of `processes.locked`.

    Raises:
        UserError: a controller on another host keeps a fresh note there.
    """
    path, ended = folder / NOTE, threading.Event()
    _refuse_another_host(path)

    def beat() -> None:
        while not ended.wait(beat_s):
            with contextlib.suppress(UserError):  # a full disk ends the runs; the next beat may succeed
                _write(path)

    _write(path)
    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        path.unlink(missing_ok=True)


def _write(path: Path) -> None:
    write_text(path, json.dumps({"host": socket.gethostname(), "process": os.getpid()}) + "\n")


def _refuse_another_host(path: Path) -> None:
    try:
        written = path.stat().st_mtime
    except OSError:
        return
    try:
        note = read_json(path)
    except UserError:
        note = None
    found = note if isinstance(note, dict) else {}
    host, age = found.get("host", "an unknown host"), _now(path.parent) - written
    if host != socket.gethostname() and age < SILENT_S:
        who = f"a suite on {host} (process {found.get('process', 'unknown')}) wrote into this folder {age:.0f} s ago"
        wait = f"if that host is down, repeat the command in {SILENT_S - age:.0f} s"
        raise UserError(f"{path.parent}: {who}; stop it there, or give another --out; {wait}")


def _now(folder: Path) -> float:
    """The time of the clock of a folder's disk, in seconds; the clocks of hosts differ."""
    with tempfile.NamedTemporaryFile(dir=folder) as file:
        file.write(b"\n")
        file.flush()
        return os.fstat(file.fileno()).st_mtime

"""Who holds a folder."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.host.lock import locked


def test_a_second_process_is_kept_out_until_the_first_is_killed(tmp_path: Path) -> None:
    ready, writer = os.pipe()
    child = os.fork()
    if child == 0:
        with locked(tmp_path / "run", ".lock", "taken"):
            reader = os.fork()  # a worker process that reads data and survives the killed run
            if reader == 0:
                signal.pause()
            os.write(writer, reader.to_bytes(4, "big"))
            signal.pause()
        os._exit(0)
    reader = int.from_bytes(os.read(ready, 4), "big")
    try:
        with pytest.raises(UserError, match="run: taken"), locked(tmp_path / "run", ".lock", "taken"):
            pass
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        with locked(tmp_path / "run", ".lock", "taken"):
            pass
    finally:
        os.kill(reader, signal.SIGKILL)


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot be written"), locked(tmp_path / "file/run", ".lock", "taken"):
        pass

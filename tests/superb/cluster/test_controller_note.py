"""The note of a controller, which other hosts read."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.superb.cluster.controller_note import NOTE, SILENT_S, announced


def test_the_note_is_kept_fresh_and_removed_at_the_end(tmp_path: Path) -> None:
    with announced(tmp_path, beat_s=0.02):
        written = (tmp_path / NOTE).stat().st_mtime_ns
        assert json.loads((tmp_path / NOTE).read_text())["process"] == os.getpid()
        until = time.monotonic() + 10
        while (tmp_path / NOTE).stat().st_mtime_ns == written:
            assert time.monotonic() < until
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("text", ['{"host": "elsewhere", "process": 7}', "half a no"])
def test_a_fresh_note_of_another_host_is_refused_and_kept(tmp_path: Path, text: str) -> None:
    (tmp_path / NOTE).write_text(text)
    wanted = r"a suite on .* \(process .*\) wrote into this folder 0 s ago; stop it there, or give another --out"
    with pytest.raises(UserError, match=wanted), announced(tmp_path):
        pass
    assert (tmp_path / NOTE).read_text() == text


def test_an_old_note_and_a_note_of_a_killed_controller_of_this_host_are_replaced(tmp_path: Path) -> None:
    (tmp_path / NOTE).write_text('{"host": "elsewhere", "process": 7}')
    before = time.time() - SILENT_S - 1
    os.utime(tmp_path / NOTE, (before, before))
    with announced(tmp_path):
        killed = (tmp_path / NOTE).read_text()
    (tmp_path / NOTE).write_text(killed)
    with announced(tmp_path):
        pass
    assert not (tmp_path / NOTE).exists()

"""Whether something can be written, found out before the work."""

from __future__ import annotations

import errno
import tempfile
from pathlib import Path

import pytest

from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.outputs import check_writable


def test_a_place_that_takes_files_is_left_as_it_was(tmp_path: Path) -> None:
    check_writable(tmp_path / "a/b", "--out", folder=True)
    check_writable(tmp_path / "a/b.png", "--out", folder=False)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES, errno.ENOSPC])
def test_a_disk_that_takes_nothing_is_said(number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**unused: object) -> None:
        raise OSError(number, "nothing goes in here")

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    with pytest.raises(UserError, match=r"-p .*x: nothing can be written there \(nothing goes in here\)"):
        check_writable(tmp_path / "x", "-p", folder=True)


def test_a_link_that_leads_nowhere_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "gone")
    with pytest.raises(UserError, match="link, expected a folder"):
        check_writable(tmp_path / "link/x", "-p", folder=True)

"""Places that are checked before the work, and files and folders that appear whole or not at all."""

from __future__ import annotations

import errno
import tempfile
from pathlib import Path

import pytest

from s3prl_gendistiller import outputs
from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.outputs import atomic_folder, check_writable, replacing, write_texts


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


def test_several_files_appear_together_or_not_at_all(tmp_path: Path) -> None:
    write_texts({tmp_path / "a": "1", tmp_path / "b" / "c": "2"})
    assert ((tmp_path / "a").read_text(), (tmp_path / "b/c").read_text()) == ("1", "2")
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"file/x: cannot be written"):
        write_texts({tmp_path / "a": "new", tmp_path / "d": "new", tmp_path / "file" / "x": "new"})
    assert (tmp_path / "a").read_text() == "1" and sorted(p.name for p in tmp_path.iterdir()) == ["a", "b", "file"]


def test_a_file_appears_when_it_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b.txt"
    with replacing(path) as part:
        part.write_text("first")
        assert not path.exists() and list(path.parent.glob(outputs.PARTS)) == [part]
    with pytest.raises(KeyboardInterrupt), replacing(path) as part:
        part.write_text("half")
        raise KeyboardInterrupt
    assert path.read_text() == "first" and list(path.parent.iterdir()) == [path]
    with (
        pytest.raises(UserError, match=r"b\.txt/c: cannot be written \(.*\); make room"),
        replacing(path / "c", "make room"),
    ):
        raise AssertionError


def test_a_folder_appears_when_it_is_complete_and_everyone_may_read_it(tmp_path: Path) -> None:
    with atomic_folder(tmp_path / "a" / "b", "a test") as partial:
        secret = partial / "secret"
        secret.write_text("x")
        secret.chmod(0o600)
        (partial / "deep").mkdir(mode=0o700)
        (partial / "deep" / "file").write_text("x")
        assert not (tmp_path / "a" / "b").exists()
    assert (tmp_path / "a" / "b" / "secret").stat().st_mode & 0o777 == 0o644
    for folder in ("a/b", "a/b/deep"):
        assert (tmp_path / folder).stat().st_mode & 0o777 == 0o755
    assert (tmp_path / "a/b/deep/file").read_text() == "x"


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_a_folder_that_fails_leaves_nothing(tmp_path: Path, error: type[BaseException]) -> None:
    with pytest.raises(error), atomic_folder(tmp_path / "a", "a test") as partial:
        (partial / "x").write_text("x")
        raise error
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_there_is_kept(tmp_path: Path) -> None:
    with (
        pytest.raises(UserError, match="already there; expected a new folder for a test"),
        atomic_folder(tmp_path, "a test"),
    ):
        raise AssertionError

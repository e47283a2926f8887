from __future__ import annotations

from pathlib import Path

import pytest

from s3prl_gendistiller.distill.folders import atomic_folder
from s3prl_gendistiller.errors import UserError


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

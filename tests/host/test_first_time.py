"""What an installation was told once: remembered in the user's cache, repeated where nothing can be written."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from s3prl_gendistiller.host.first_time import is_new


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_a_text_is_new_once_and_a_changed_one_again() -> None:
    assert [is_new("supplied", text) for text in ("a; b", "a; b", "a", "a")] == [True, False, True, False]


def test_each_environment_and_each_topic_has_its_own_note(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    assert is_new("supplied", "a") and is_new("other", "a")
    monkeypatch.setattr(sys, "prefix", "/another/environment")
    assert is_new("supplied", "a") and not is_new("supplied", "a")
    assert len(list(cache.rglob("*.txt"))) == 3


def test_where_nothing_can_be_written_the_text_stays_new(cache: Path) -> None:
    cache.write_text("a file in place of the folder")
    assert is_new("supplied", "a") and is_new("supplied", "a")
    assert cache.read_text() == "a file in place of the folder"


def test_a_damaged_note_is_written_again(cache: Path) -> None:
    is_new("supplied", "a")
    next(cache.rglob("*.txt")).write_bytes(b"\xff\xfe")
    assert is_new("supplied", "a") and not is_new("supplied", "a")


def test_a_relative_cache_folder_is_not_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The XDG specification says so; it would be another folder in each working folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert is_new("supplied", "a")
    assert [path.name for path in tmp_path.iterdir()] == [".cache"]

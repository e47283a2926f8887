"""Marks of a board: planted differences are better and worse, and what cannot be compared has a reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.superb.board.significance import marks
from s3prl_gendistiller.superb.board.suites import read_suites
from tests.superb.board.made import student, suite
from tests.superb.made_suite import write_suite


@pytest.fixture
def planted(tmp_path: Path) -> Path:
    (tmp_path / "planted").mkdir()
    right = {"good": {"ks": 39}, "bad": {"ks": 10}, "base": {"ks": 25}, "same": {"ks": 25}}
    return write_suite(tmp_path / "planted", right)


def test_each_student_is_marked_against_the_control_and_corrected_for_all(planted: Path, tmp_path: Path) -> None:
    other = suite(tmp_path / "other", {"lonely": student({"ks": {"acc": 9.0}})})
    found = marks(read_suites([planted, other]), "base")
    assert {mark["name"]: mark["word"] for mark in found["marks"]} == {
        "good": "better",
        "bad": "worse",
        "same": "level",
    }
    assert {mark["key"] for mark in found["marks"]} == {"ks.acc"} and {mark["suite"] for mark in found["marks"]} == {
        "planted"
    }
    assert any("corrected for 3 differences by Holm's method" in note for note in found["notes"])
    assert found["reasons"] == ["other: not compared, because it has no student base."]


def test_runs_that_left_no_items_are_named_with_the_reason(planted: Path) -> None:
    for path in planted.rglob("good/*/superb_items.csv"):
        path.unlink()
    found = marks(read_suites([planted]), "base")
    assert {mark["name"] for mark in found["marks"]} == {"bad", "same"}
    assert len(found["reasons"]) == 1 and found["reasons"][0].startswith("planted, good: KS is not compared")


def test_a_control_that_no_suite_has_is_refused(planted: Path) -> None:
    with pytest.raises(UserError, match="--compare: found bas, expected a student .* found good, bad, base, same"):
        marks(read_suites([planted]), "bas")

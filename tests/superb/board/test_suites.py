"""Results of a board: labels that tell suites apart, and files that are refused in one message."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.superb.board.suites import read_suites
from tests.superb.board.made import student, suite

KS = {"ks": {"acc": 90.0}}


def test_suites_of_one_name_are_told_apart_by_the_folders_above(tmp_path: Path) -> None:
    places = [suite(tmp_path / top / "superb", {"mine": student(KS)}) for top in ("one", "two")]
    places.append(suite(tmp_path / "third", {"mine": student(KS)}))
    assert [one.label for one in read_suites(places)] == ["one/superb", "two/superb", "third"]
    renamed = places[2] / "before.json"
    renamed.write_text((places[2] / "results.json").read_text())
    assert [one.label for one in read_suites([places[2], renamed])] == ["third", "before.json"]


def test_a_suite_comes_once(tmp_path: Path) -> None:
    folder = suite(tmp_path / "superb", {"mine": student(KS)})
    (tmp_path / "link").symlink_to(folder)
    with pytest.raises(UserError, match="named twice"):
        read_suites([folder, tmp_path / "link"])


@pytest.mark.parametrize("students", [{}, {"mine": student({})}])
def test_results_without_a_result_are_refused(tmp_path: Path, students: dict) -> None:
    with pytest.raises(UserError, match="found no result of any student"):
        read_suites([suite(tmp_path / "superb", students)])


def test_a_student_without_a_result_is_left_out(tmp_path: Path) -> None:
    (one,) = read_suites([suite(tmp_path / "superb", {"mine": student(KS), "next": student({})})])
    assert list(one.suite.groups()) == ["mine"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("90.0", "NaN"), "found NaN, expected a finite number"),
        (("90.0", "1e999"), "expected a finite number"),
        (('"mine"', '"<img src=x>"'), "found a name that no student can have"),
        (('"ks"', '"kws"'), "found 'kws', expected"),
        (('"small"', '"tiny"'), "preset"),
    ],
)
def test_wrong_entries_are_named(change: tuple[str, str], said: str, tmp_path: Path) -> None:
    folder = suite(tmp_path / "superb", {"mine": student(KS)})
    path = folder / "results.json"
    path.write_text(path.read_text().replace(*change))
    with pytest.raises(UserError, match=said) as error:
        read_suites([folder])
    assert str(path) in str(error.value) and str(error.value).count("\n") == 0


def test_results_of_an_early_version_are_not_taken_for_comparable_ones(tmp_path: Path) -> None:
    folder = tmp_path / "superb"
    folder.mkdir()
    (folder / "results.json").write_text(
        json.dumps({"students": {"mine": {"tasks": {"ks": {"values": {"acc": 9.0}}}}}})
    )
    (one,) = read_suites([folder])
    assert (one.origin, one.comparable, one.suite.preset) == ("unknown settings", False, "unknown")

"""The runs behind the names of a comparison, and the tasks that it leaves out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from s3prl_gendistiller.superb.comparison.compared import compare_students, read_pair
from s3prl_gendistiller.superb.comparison.report import as_markdown, summary
from s3prl_gendistiller.superb.tasks import TASKS
from tests.superb.made_suite import ITEMS, write_suite


@pytest.mark.parametrize(
    ("names", "seeds", "values"),
    [
        (("mine", "other"), (2, 2), (67.5, 25.0)),  # distillations, each the mean of its heads; heads
        (("mine.2", "other+seed2"), (1, 1), (75.0, 30.0)),
    ],
)
def test_a_name_stands_for_all_runs_of_a_student_or_for_one(
    names: tuple[str, str], seeds: tuple[int, int], values: tuple[float, float], tmp_path: Path
) -> None:
    models = {"mine.1": 22, "mine.1+seed2": 26, "mine.2": 30, "other": 8, "other+seed2": 12}
    suite = write_suite(tmp_path, {name: {"ks": right} for name, right in models.items()})
    first, second = read_pair(suite, names)
    (row,), left_out = compare_students(first, second, [TASKS["ks"]])
    assert row.found.seeds == seeds and row.found.values == pytest.approx(values) and left_out == []
    text = as_markdown(first, second, [row], left_out)
    assert f"| {seeds[0]} / {seeds[1]} " in text
    assert ("nothing is said about another distillation of it" in text) == (names[1] == "other")
    assert ("is one run" in text) == (names[1] != "other") == ("Two seeds say little" not in text)


def test_the_folds_of_a_task_are_one_test(tmp_path: Path) -> None:
    suite = write_suite(tmp_path, {"a": {"er": 30}, "b": {"er": 10}})
    (row,), _ = compare_students(*read_pair(suite, ("a", "b")), [TASKS["er"]])
    assert row.found.items == 5 * ITEMS and row.found.difference == 50.0 and row.word == "better"


def test_p_values_are_corrected_over_the_tasks(tmp_path: Path) -> None:
    suite = write_suite(tmp_path, {"a": {"ks": 30, "sid": 27, "ic": 20}, "b": {"ks": 10, "sid": 20, "ic": 20}})
    rows, _ = compare_students(*read_pair(suite, ("a", "b")), [TASKS[name] for name in ("ks", "sid", "ic")])
    raw, corrected = [row.found.p for row in rows], [row.corrected for row in rows]
    assert corrected == pytest.approx([3 * raw[0], 2 * raw[1], 1]) and np.argmin(raw) == 0
    assert [row.word for row in rows] == ["better", "better", "level"]
    assert (
        summary("a", "b", rows) == "a against b: better on KS acc % ↑, SID acc % ↑; worse on none; level on IC acc % ↑."
    )


def test_what_only_one_student_has_and_other_items_are_named(tmp_path: Path) -> None:
    suite = write_suite(tmp_path, {"a": {"ks": 30, "sid": 27, "ic": 20}, "b": {"ks": 10, "sid": 20}})
    items = suite / "runs/b/sid/superb_items.csv"
    items.write_text(items.read_text().replace("u39,", "another,"))
    rows, left_out = compare_students(*read_pair(suite, ("a", "b")), [TASKS[name] for name in ("ks", "sid", "ic")])
    assert [row.task.name for row in rows] == ["ks"]
    reasons = {one.task.name: one.reason for one in left_out}
    assert reasons.keys() == {"sid", "ic"} and reasons["ic"] == "b has no result"
    assert reasons["sid"].startswith("the runs were tested on different items (2 are not in all, ")


def test_tasks_that_are_left_out_for_one_reason_share_a_line(tmp_path: Path) -> None:
    suite = write_suite(tmp_path, {"a": {"ks": 30, "sid": 27, "ic": 20}, "b": {"ks": 10}})
    first, second = read_pair(suite, ("a", "b"))
    tasks = [TASKS[name] for name in ("ks", "sid", "ic", "pr", "asr")]
    text = as_markdown(first, second, *compare_students(first, second, tasks))
    assert text.endswith(
        "\nSID, IC are not compared: b has no result\n\nPR, ASR are not compared: a and b have no result\n"
    )

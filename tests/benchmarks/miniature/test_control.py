"""Forms beside a control form: by the items of their runs, and over seeds alone where these were not kept."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from miniature.control import control_table, over_seeds
from miniature.scores import Form, columns
from s3prl_gendistiller.superb.comparison.compared import compare_students, read_pair
from s3prl_gendistiller.superb.comparison.report import numbers
from s3prl_gendistiller.superb.tasks import TASKS
from tests.benchmarks.miniature.markdown import read
from tests.superb.made_suite import write_suite

RIGHT = {  # of 40 items
    **{"base.1": {"ks": 20, "sid": 20}, "base.2": {"ks": 21, "sid": 22}},
    **{"better.1": {"ks": 38, "sid": 21}, "better.2": {"ks": 39, "sid": 20}},
    **{"worse.1": {"ks": 2}, "worse.2": {"ks": 3}},
    "single.1": {"ks": 21},
    "better.3": {"ks": 0, "sid": 0},  # of an earlier command
}
FORMS = {
    "base": Form(["base.1", "base.2"], [0.45, 0.43]),
    "better": Form(["better.1", "better.2"], [0.50, 0.51]),
    "worse": Form(["worse.1", "worse.2"], [0.44, 0.46]),
    "single": Form(["single.1"], []),
}


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    return write_suite(tmp_path, RIGHT)


def table(suite: Path) -> tuple[str, dict[tuple[str, str], dict[str, str]]]:
    results: dict[str, Any] = json.loads((suite / "results.json").read_text())
    text = control_table(results, suite, FORMS, "base", columns(results, FORMS))
    return text, {(row["form"], row["metric"]): row for row in read(text)[0]}


def test_the_words_follow_from_the_items(suite: Path) -> None:
    text, rows = table(suite)
    words = {key: row["the form is"] for key, row in rows.items() if key[1] != "layerwise loss ↓"}
    assert words == {
        **{("better", "KS acc % ↑"): "better", ("better", "SID acc % ↑"): "level"},
        **{("worse", "KS acc % ↑"): "worse", ("single", "KS acc % ↑"): "level"},
    }
    lines = text.split("\n\n")[:3]
    assert lines[0] == "better against base: better on KS acc % ↑; worse on none; level on SID acc % ↑."
    assert lines[1] == "worse against base: better on none; worse on KS acc % ↑; level on none."
    assert "single: one run" in text and "over seeds alone" not in text


def test_the_numbers_are_those_of_the_command(suite: Path) -> None:
    _, rows = table(suite)
    expected, _ = compare_students(*read_pair(suite, ("worse", "base")), list(TASKS.values()))
    assert list(rows["worse", "KS acc % ↑"].values())[2:-1] == numbers(expected[0])


def test_a_distance_is_compared_over_seeds(suite: Path) -> None:
    _, rows = table(suite)
    assert rows["better", "layerwise loss ↓"]["the form is"] == "apart over seeds"
    row = rows["worse", "layerwise loss ↓"]
    assert (row["the form is"], row["seeds"], row["difference"]) == ("not apart over seeds", "2 / 2", "+0.0100")
    assert row["95 % interval"] == row["p (Holm)"] == row["items"] == ""
    assert ("single", "layerwise loss ↓") not in rows


def test_runs_without_items_are_compared_over_seeds_with_a_note(suite: Path) -> None:
    for name in ("better.1", "better.2"):
        (suite / f"runs/{name}/ks/superb_items.csv").unlink()
    text, rows = table(suite)
    row = rows["better", "KS acc % ↑"]
    assert (row["the form is"], row["difference"], row["p"]) == ("apart over seeds", "+45.00", "")
    assert rows["better", "SID acc % ↑"]["the form is"] == "level"
    (note,) = [line for line in text.splitlines() if "over seeds alone" in line]
    run = suite / "runs/better.1/ks"
    assert note.startswith(f"better: KS over seeds alone ({run}: keeps no items of its test (")
    assert note.endswith("; 1 more like this)")
    assert text.startswith("better against base: better on none; worse on none; level on SID acc % ↑.")
    assert "compared in this way, which is no test" in text


def test_results_without_any_run_are_compared_over_seeds(suite: Path) -> None:
    content = json.loads((suite / "results.json").read_text())
    for entry in content["students"].values():
        for outcome in entry["tasks"].values():
            del outcome["folders"]
    (suite / "results.json").write_text(json.dumps(content))
    text, rows = table(suite)
    assert rows["worse", "KS acc % ↑"]["the form is"] == "apart over seeds"
    assert rows["single", "KS acc % ↑"]["the form is"] == "one seed"
    assert "worse against base: no metric is compared by its items." in text
    assert "better and worse: the interval" not in text


def test_equal_extremes_are_not_apart() -> None:
    assert over_seeds([3, 2], [2, 1], 2) == ["2 / 2", "2.50", "1.50", "+1.00", "not apart over seeds"]
    assert over_seeds([3, 2.5], [2, 1], 1)[-1] == "apart over seeds" == over_seeds([2, 1], [3, 2.5], 1)[-1]
    assert over_seeds([3], [2, 1], 1)[-1] == "one seed"

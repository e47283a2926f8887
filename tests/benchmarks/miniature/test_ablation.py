"""The tables of an ablation by tasks, on constructed results."""

from __future__ import annotations

from typing import Any

import pytest

from miniature.ablation import Form, against, columns, kendall_tau_b, scores, tables
from s3prl_gendistiller.superb.tasks import TASKS

PR, ASR, KS = TASKS["pr"], TASKS["asr"], TASKS["ks"]


def student(per: float, acc: float | None = None, letters: float | None = None, cost: bool = True) -> dict[str, Any]:
    tasks = {"pr": {"values": {"per": per}}}
    if acc is not None:
        tasks["ks"] = {"values": {"acc": acc}}
    if letters is not None:
        tasks["asr"] = {"values": {"wer": 2 * letters, "uer": letters}}
    measured = {"parameters": 1_234_567, "gmacs_per_s": 0.25, "cpu_s_per_s": 0.01}
    return {"kind": "", "cost": measured if cost else None, "tasks": tasks}


RESULTS = {
    "students": {
        **{"teacher": student(44, 68, 36), "random": student(90, 19), "fbank": student(60, 8, 38, cost=False)},
        **{"conv.1": student(43, 70, 34), "conv.2": student(44, 72, 35)},
        **{"mel.1": student(36, 69, 33), "mel.2": student(37, 75, 32)},
        **{"thin.1": student(50, 60), "thin.2": student(51, 61)},
        "other.1": student(40),
        "earlier.1": student(1, 99, 1),
    }
}
FORMS = {
    "conv": Form(["conv.1", "conv.2"], [0.45, 0.43]),
    "mel": Form(["mel.1", "mel.2"], [0.61, 0.62]),
    "thin": Form(["thin.1", "thin.2"], [0.50, 0.50]),
    "other": Form(["other.1"], []),
}


def read(text: str) -> list[dict[str, dict[str, str]]]:
    """The tables of a text: row -> column -> cell."""
    found: list[list[list[str]]] = []
    for block in text.split("\n\n"):
        if block.startswith("|"):
            lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in block.strip().splitlines()]
            found.append([lines[0], *lines[2:]])
    return [{row[0]: dict(zip(header[1:], row[1:], strict=True)) for row in rows} for header, *rows in found]


def test_a_form_is_a_row_of_means_beside_its_distance_and_cost() -> None:
    table, _, _ = read(tables(RESULTS, FORMS, "conv"))
    assert list(table) == ["conv", "mel", "thin", "other", "teacher", "random", "fbank"]
    assert table["conv"] == {
        **{"parameters": "1,234,567", "G multiply-adds per s": "0.250", "layerwise loss": "0.4400 ± 0.0141"},
        **{"PR PER % ↓": "43.50 ± 0.71", "ASR WER % ↓": "69.00 ± 1.41", "ASR letter error % ↓": "34.50 ± 0.71"},
        "KS acc % ↑": "71.00 ± 1.41",
    }
    assert table["teacher"]["layerwise loss"] == "" and table["teacher"]["PR PER % ↓"] == "44.00"
    assert table["fbank"]["parameters"] == "" and table["thin"]["ASR WER % ↓"] == ""
    assert table["other"]["layerwise loss"] == "" and table["other"]["PR PER % ↓"] == "40.00"


def test_rank_correlation_is_plus_one_where_nearer_is_better_whatever_the_metric() -> None:
    forms = {name: FORMS[name] for name in ("conv", "thin")}
    _, agreeing, _ = read(tables(RESULTS, forms, "conv"))
    assert agreeing["tau-b"] == {
        "PR PER % ↓": "+1.00",
        "ASR WER % ↓": "",
        "ASR letter error % ↓": "",
        "KS acc % ↑": "+1.00",
    }
    _, all_forms, _ = read(tables(RESULTS, FORMS, "conv"))
    # by distance conv, thin, mel; by phones mel, conv, thin: one of three pairs agrees; `other` has no distance
    assert all_forms["tau-b"]["PR PER % ↓"] == "-0.33" and all_forms["forms"]["PR PER % ↓"] == "3"
    assert all_forms["tau-b"]["ASR letter error % ↓"] == "-1.00" and all_forms["forms"]["ASR letter error % ↓"] == "2"


def test_seeds_are_apart_from_the_control_by_the_direction_of_each_measure() -> None:
    *_, table = read(tables(RESULTS, FORMS, "conv"))
    assert list(table) == ["mel", "thin", "other"]
    measures = ("seeds", "layerwise loss", "PR PER % ↓", "KS acc % ↑", "ASR letter error % ↓")
    assert [table["mel"][name] for name in measures] == ["2 against 2", "worse", "better", "not apart", "better"]
    assert [table["thin"][name] for name in measures] == ["2 against 2", "worse", "worse", "worse", ""]
    assert [table["other"][name] for name in measures] == ["1 against 2", "", "better", "", ""]


def test_columns_are_first_metrics_of_the_tasks_of_the_forms() -> None:
    shown = [(task.name, metric.key) for task, metric in columns(RESULTS, {"thin": FORMS["thin"]})]
    assert shown == [("pr", "per"), ("ks", "acc")]
    assert scores(RESULTS, ["conv.1", "nobody.1", "other.1"], KS, KS.metrics[0]) == [70]
    assert scores(RESULTS, ["conv.1", "mel.2"], ASR, ASR.metrics[1]) == [34, 32]


@pytest.mark.parametrize(
    ("x", "y", "tau"),
    [
        ([1, 2, 3, 4], [10, 20, 30, 40], 1.0),
        ([1, 2, 3, 4], [4, 3, 2, 1], -1.0),
        ([1, 2, 3], [1, 3, 2], 1 / 3),
        ([1, 1, 2], [1, 2, 3], 2 / 6**0.5),  # two of three pairs agree, one is tied in x
        ([1, 1], [1, 2], None),
        ([1], [1], None),
        ([], [], None),
    ],
)
def test_rank_correlation_against_hand_calculations(x: list[float], y: list[float], tau: float | None) -> None:
    assert kendall_tau_b(x, y) == (None if tau is None else pytest.approx(tau))


def test_equal_extremes_are_not_apart() -> None:
    assert against([3, 2], [2, 1], True) == "not apart"
    assert against([3, 2.5], [2, 1], True) == "better" and against([3, 2.5], [2, 1], False) == "worse"

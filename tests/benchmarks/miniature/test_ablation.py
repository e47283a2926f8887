"""The tables of an ablation by tasks: the scores of the forms, on constructed results."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from miniature.ablation import tables
from miniature.scores import Form, columns, scores
from s3prl_gendistiller.superb.tasks import TASKS
from tests.benchmarks.miniature.markdown import read

ASR, KS = TASKS["asr"], TASKS["ks"]


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
        **{"thin.1": student(50, 60), "thin.2": student(51, 61)},
        "other.1": student(40),
        "earlier.1": student(1, 99, 1),
    }
}
FORMS = {
    "conv": Form(["conv.1", "conv.2"], [0.45, 0.43]),
    "thin": Form(["thin.1", "thin.2"], [0.50, 0.50]),
    "other": Form(["other.1"], []),
}


def test_a_form_is_a_row_of_means_beside_its_distance_and_cost(tmp_path: Path) -> None:
    table, _, against = read(tables(RESULTS, tmp_path, FORMS, "conv"))
    rows = {row["form"]: row for row in table}
    assert list(rows) == ["conv", "thin", "other", "teacher", "random", "fbank"]
    assert rows["conv"] == {
        **{"form": "conv", "parameters": "1,234,567", "G multiply-adds per s": "0.250"},
        **{"layerwise loss": "0.4400 ± 0.0141", "PR PER % ↓": "43.50 ± 0.71", "ASR WER % ↓": "69.00 ± 1.41"},
        **{"ASR letter error % ↓": "34.50 ± 0.71", "KS acc % ↑": "71.00 ± 1.41"},
    }
    assert rows["teacher"]["layerwise loss"] == "" and rows["teacher"]["PR PER % ↓"] == "44.00"
    assert rows["fbank"]["parameters"] == "" and rows["thin"]["ASR WER % ↓"] == ""
    assert rows["other"]["layerwise loss"] == "" and rows["other"]["PR PER % ↓"] == "40.00"
    assert {row["form"] for row in against} == {"thin", "other"}


def test_columns_are_first_metrics_of_the_tasks_of_the_forms() -> None:
    shown = [(task.name, metric.key) for task, metric in columns(RESULTS, {"thin": FORMS["thin"]})]
    assert shown == [("pr", "per"), ("ks", "acc")]
    assert scores(RESULTS, ["conv.1", "nobody.1", "other.1"], KS, KS.metrics[0]) == [70]
    assert scores(RESULTS, ["conv.1", "conv.2"], ASR, ASR.metrics[1]) == [34, 35]

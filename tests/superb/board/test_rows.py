"""Rows of a board: published ones with their sources, and students over their runs, in groups that are comparable."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from s3prl_gendistiller.superb.board.rows import COMPARABLE, columns, groups, rows
from s3prl_gendistiller.superb.board.suites import read_suites
from s3prl_gendistiller.superb.leaderboard.published_models import PUBLISHED
from tests.superb.board.made import WHOLE, student, suite, with_everything


def test_published_rows_have_score_source_and_multiply_adds_per_second() -> None:
    found = {row["name"]: row for row in rows([])}
    assert len(found) == len(PUBLISHED)
    hubert = found["HuBERT Base"]
    assert hubert["macs"] == pytest.approx(7.42, abs=0.01) and hubert["cells"]["pr.per"]["mean"] == 5.41
    assert all(row["source"]["link"].startswith("https://") and row["group"] == COMPARABLE for row in found.values())
    assert "computed" in found["FitHuBERT"]["source"]["words"] and "computed" not in hubert["source"]["words"]


def test_a_row_has_mean_spread_and_number_of_its_runs(tmp_path: Path) -> None:
    values = {"mine": 80.0, "mine+seed2": 90.0, "mine.2": 70.0}
    entries = {name: student({"ks": {"acc": value}}, checkpoint=f"/gone/{name}.ckpt") for name, value in values.items()}
    (row,) = (row for row in rows(read_suites([suite(tmp_path / "s", entries)])) if row["kind"] == "yours")
    assert row["cells"]["ks.acc"] == {"mean": 80.0, "sd": 10.0, "n": 3, "decimals": 2}
    assert (row["runs"], row["count"], row["group"], row["score"]) == ("3: 2 distillations, 2 heads", 3, "s", None)


def test_official_results_stand_beside_published_rows_and_others_never_do(tmp_path: Path) -> None:
    official = suite(tmp_path / "official", {"mine": student(WHOLE)}, preset="official", synthetic=None)
    planted = suite(tmp_path / "planted", {"mine": student(WHOLE, score=999.0)}, preset="official")
    small = suite(tmp_path / "small", {"mine": student(WHOLE, score=999.0)}, synthetic=None)
    suites = read_suites([official, planted, small])
    ours = [row for row in rows(suites) if row["kind"] == "yours"]
    assert [row["group"] for row in ours] == [COMPARABLE, "planted", "small"]
    assert ours[0]["score"]["mean"] == pytest.approx(717, abs=1) and ours[2]["score"]["mean"] == 999.0
    shown = groups(suites)
    assert [group["comparable"] for group in shown] == [True, False, False]
    assert "synthetic speech, not comparable" in shown[1]["title"] and "small settings, not" in shown[2]["title"]
    assert groups(suites[1:])[-1]["title"] == "Published rows"


def test_columns_are_the_leaderboards_and_those_that_a_suite_has(tmp_path: Path) -> None:
    counted = {column["key"] for column in columns([])}
    assert {"pr.per", "sf.f1", "sf.cer", "qbe.mtwv"} <= counted and len(counted) == 11
    folder = suite(tmp_path / "s", {"mine": student({"asr": {"wer": 9.0, "wer_lm": 8.0}})})
    assert {column["key"] for column in columns(read_suites([folder]))} - counted == {"asr.wer_lm"}


def test_references_of_a_suite_are_no_students(tmp_path: Path) -> None:
    entries = {"fbank": student({"ks": {"acc": 9.0}}, upstream="fbank"), "mine": student({"ks": {"acc": 9.0}})}
    entries["base"] = student({"ks": {"acc": 9.0}}, upstream="distiller_local")
    found = {row["name"]: row["kind"] for row in rows(read_suites([suite(tmp_path / "s", entries)]))}
    assert (found["fbank"], found["mine"], found["base"]) == ("reference", "yours", "yours")


def test_rows_of_one_checkpoint_with_other_numbers_of_layers_are_a_family(tmp_path: Path) -> None:
    found = [row for row in rows(read_suites(with_everything(tmp_path))) if row["name"].startswith("stop")]
    assert [row["steps"] for row in found] == [1, 2, None] and len({row["family"] for row in found}) == 1
    assert found[0]["family"]
    json.dumps(found, allow_nan=False)

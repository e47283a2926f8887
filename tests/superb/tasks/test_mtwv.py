"""MTWV on cases worked by hand. With the official costs a false alarm on one of n other documents costs 12.49 / n."""

from __future__ import annotations

from pathlib import Path

import pytest

from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.superb.tasks import mtwv as detection
from s3prl_gendistiller.superb.tasks.mtwv import BETA, mtwv

DOCUMENTS = {"d1", "d2", "d3", "d4"}


def test_the_official_costs_give_a_beta_of_12_49() -> None:
    assert pytest.approx(12.49) == BETA


def test_a_perfect_ranking_gives_one() -> None:
    scores = {"q": {"d1": 2.0, "d2": 1.0, "d3": 0.0, "d4": -1.0}}
    assert mtwv(scores, {"q": {"d1", "d2"}}, DOCUMENTS) == pytest.approx(1.0)


def test_a_wrong_ranking_gives_zero_because_nothing_need_be_detected() -> None:
    scores = {"q": {"d1": -1.0, "d2": 3.0, "d3": 2.0, "d4": 1.0}}
    assert mtwv(scores, {"q": {"d1"}}, DOCUMENTS) == 0.0


def test_one_of_two_documents_before_the_first_false_alarm_gives_a_half() -> None:
    scores = {"q": {"d1": 4.0, "d3": 3.0, "d2": 2.0, "d4": 1.0}}
    assert mtwv(scores, {"q": {"d1", "d2"}}, DOCUMENTS) == pytest.approx(0.5)


def test_a_cheap_false_alarm_is_taken_for_a_second_document() -> None:
    # both true ones and one of two others: 1 - (0 + 0.5 / 2) = 0.75, better than 0.5 before it
    scores = {"q": {"d1": 4.0, "d3": 3.0, "d2": 2.0, "d4": 1.0}}
    assert mtwv(scores, {"q": {"d1", "d2"}}, DOCUMENTS, beta=0.5) == pytest.approx(0.75)


def test_equal_scores_are_detected_together() -> None:
    scores = {"q": {"d1": 1.0, "d2": 1.0, "d3": 0.0, "d4": 0.0}}
    assert mtwv(scores, {"q": {"d1"}}, DOCUMENTS, beta=0.6) == pytest.approx(1 - 0.6 / 3)


def test_one_threshold_serves_all_queries() -> None:
    # at 5: q alone is found (1/2); at 1: both, but q has a false alarm of one in three by then
    scores = {"q": {"d1": 5.0, "d2": 3.0, "d3": 0.0, "d4": 0.0}, "r": {"d2": 1.0, "d1": 0.0, "d3": 0.0, "d4": 0.0}}
    truth = {"q": {"d1"}, "r": {"d2"}}
    assert mtwv(scores, truth, DOCUMENTS) == pytest.approx(0.5)
    assert mtwv(scores, truth, DOCUMENTS, beta=0.3) == pytest.approx(1 - 0.3 / 3 / 2)


def test_a_query_that_occurs_nowhere_does_not_count_and_one_without_scores_is_missed() -> None:
    scores = {"q": {"d1": 2.0, "d2": 0.0, "d3": 0.0, "d4": 0.0}, "nowhere": dict.fromkeys(DOCUMENTS, 9.0)}
    assert mtwv(scores, {"q": {"d1"}, "nowhere": {"elsewhere"}}, DOCUMENTS) == pytest.approx(1.0)
    assert mtwv(scores, {"q": {"d1"}, "silent": {"d2"}}, DOCUMENTS) == pytest.approx(0.5)
    with pytest.raises(UserError, match="no query of the ground truth occurs"):
        mtwv(scores, {"q": {"elsewhere"}}, DOCUMENTS)


def test_a_run_is_scored_against_the_official_folder(tmp_path: Path) -> None:
    terms = "".join(f'<term file="d{index}" score="{-index}.0"/>' for index in (1, 2))
    (tmp_path / detection.STDLIST).write_text(
        f'<stdlist><detected_termlist termid="q">{terms}</detected_termlist></stdlist>'
    )
    truth = tmp_path / "truth"
    truth.mkdir()
    with pytest.raises(UserError, match=r"found no \.rttm"):
        detection.score_run(tmp_path, truth)
    (truth / "quesst14_dev.rttm").write_text("LEXEME d2 1 0.00 1.00 q lex <NA> <NA>\n")
    assert detection.score_run(tmp_path, truth) == 0.0  # 1 - 12.49 at the only useful threshold
    (truth / "quesst14.ecf.xml").write_text(
        "<ecf>" + "".join(f'<excerpt audio_filename="Audio/d{index}.wav"/>' for index in range(1, 101)) + "</ecf>"
    )
    assert detection.score_run(tmp_path, truth) == pytest.approx(1 - BETA / 99)


def test_a_broken_list_is_named(tmp_path: Path) -> None:
    (tmp_path / detection.STDLIST).write_text("<stdlist><detected")
    with pytest.raises(UserError, match=r"benchmark\.stdlist\.xml: expected the list that s3prl"):
        detection.read_stdlist(tmp_path / detection.STDLIST)

"""The leaderboard's score, against scores that are published there."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from s3prl_gendistiller.superb.leaderboard.published_models import PUBLISHED
from s3prl_gendistiller.superb.leaderboard.scores import (
    LEADERBOARD,
    References,
    counted_tasks,
    overall_score,
    scored_tasks,
    task_score,
)
from s3prl_gendistiller.superb.tasks import TASKS


def row(*numbers: float) -> dict[str, dict[str, float]]:
    per, sid, ks, qbe, ic, wer, eer, er, der, f1, cer = numbers
    single = {"sid": sid, "ks": ks, "ic": ic, "er": er}
    return {
        **{task: {"acc": value} for task, value in single.items()},
        "pr": {"per": per},
        "qbe": {"mtwv": qbe},
        "asr": {"wer": wer},
        "asv": {"eer": eer},
        "sd": {"der": der},
        "sf": {"f1": f1, "cer": cer},
    }


HUBERT_BASE = row(5.41, 81.42, 96.30, 7.36, 98.34, 6.42, 5.11, 64.92, 5.88, 88.53, 25.20)
DISTILHUBERT = row(16.27, 73.54, 95.98, 5.11, 94.99, 13.37, 8.55, 63.02, 6.19, 82.57, 35.59)


def test_the_published_scores_come_out() -> None:
    assert overall_score(HUBERT_BASE, LEADERBOARD) == pytest.approx(941, abs=1)
    assert overall_score(DISTILHUBERT, LEADERBOARD) == pytest.approx(717, abs=1)


def test_the_references_score_zero_and_a_thousand() -> None:
    assert overall_score(LEADERBOARD.base, LEADERBOARD) == pytest.approx(0)
    assert overall_score(LEADERBOARD.top, LEADERBOARD) == pytest.approx(1000)


def test_slot_filling_is_the_mean_of_its_two_numbers() -> None:
    references = References(base={"sf": {"f1": 0, "cer": 100}}, top={"sf": {"f1": 50, "cer": 20}})
    assert task_score("sf", {"f1": 25, "cer": 100}, references) == pytest.approx(250)
    assert task_score("sf", {"f1": 25}, references) is None


def test_there_is_no_score_without_all_ten_or_between_equal_references() -> None:
    assert overall_score({task: HUBERT_BASE[task] for task in list(TASKS)[:9]}, LEADERBOARD) is None
    assert overall_score(HUBERT_BASE, References(HUBERT_BASE, HUBERT_BASE)) is None


def test_a_task_on_which_the_teacher_is_no_better_is_left_out() -> None:
    worse = {**LEADERBOARD.top, "qbe": {"mtwv": 0.5}, "sd": {"der": 11.0}, "sf": {"f1": 89.81, "cer": 60.0}}
    references = References(LEADERBOARD.base, worse)
    assert set(TASKS) - set(scored_tasks(references)) == {"qbe", "sd", "sf"}
    assert overall_score(worse, references) == pytest.approx(1000)
    assert overall_score(LEADERBOARD.base, references) == pytest.approx(0)
    assert task_score("qbe", {"mtwv": 0.5}, references) is None
    assert set(scored_tasks(LEADERBOARD)) == set(TASKS)


def test_every_counted_metric_is_one_of_its_tasks() -> None:
    for task, metrics in LEADERBOARD.base.items():
        assert set(metrics) <= {metric.key for metric in TASKS[task].metrics}


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (counted_tasks("mini"), 0.951),
        (["asr", "sid"], 0.943),
        (["pr", "asr", "sid"], 0.955),
        (["asr", "sid", "sd"], 0.942),
    ],
)
def test_the_tasks_of_mini_rank_published_models_as_the_ten_do(names: list[str], expected: float) -> None:
    """Spearman's correlation over 45 published rows, of the mean over some tasks and the score over all."""

    def ranks(tasks: Sequence[str]) -> list[int]:
        points = [
            np.mean([task_score(task, row.values[task], LEADERBOARD) or 0 for task in tasks]) for row in PUBLISHED
        ]
        assert len({*points}) == len(points)
        return [sorted(points).index(point) for point in points]

    assert np.corrcoef(ranks(names), ranks(counted_tasks()))[0, 1] == pytest.approx(expected, abs=5e-4)

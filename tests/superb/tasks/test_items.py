"""Items of tests: their file, what makes them, and metrics beside those of s3prl's packages."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.interpolate import interp1d
from scipy.optimize import brentq
from sklearn.metrics import roc_curve

from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.superb.tasks import TASKS, mtwv
from s3prl_gendistiller.superb.tasks.items import Items, as_csv, joined, paired_lines, read_items
from s3prl_gendistiller.superb.tasks.slots import slot_scores
from s3prl_gendistiller.superb.tasks.statistics import EqualErrorRate, Ratio, TermWeightedValue, ranked, value
from tests.conftest import ROOT, run_python

SLOTS = [
    ("PLAY B-artist BACH E-artist NOW", "PLAY B-artist BACH E-artist NOW"),
    ("PLAY B-artist BAK E-artist B-year NOW E-year", "PLAY B-artist BACH E-artist NOW"),
    ("PLAY BACH", "PLAY B-artist BACH E-artist B-genre SLOW FUGUE E-genre"),
    (
        "B-artist  A B-year B E-year C E-artist B-artist D E-artist",
        "B-artist D E E-artist B-artist A E-artist B-year Y E-year",
    ),
    ("", "B-artist X E-artist"),
    ("B-artist X", "NO SLOT AT ALL"),
    ("B-city X E-city", "NO SLOT AT ALL"),
    ("B-city X E-city", "B-artist X E-artist"),
]
_METRICS = """
import json, sys
from s3prl_gendistiller.host import compat
from s3prl.downstream.ctc.metric import slot_type_f1, slot_value_cer
pairs = json.loads(sys.argv[1])
hypothesis, groundtruth = zip(*pairs)
f1 = [slot_type_f1([h], [g]) for h, g in pairs]
print(json.dumps([f1, slot_value_cer(hypothesis, groundtruth)]))
"""


def test_slots_are_counted_as_s3prl_counts_them() -> None:
    answer = run_python("-c", _METRICS, json.dumps(SLOTS), cwd=ROOT)
    assert answer.returncode == 0, answer.stderr[-2000:]
    f1, cer = json.loads(answer.stdout.splitlines()[-1])
    ours = np.array([slot_scores(*pair) for pair in SLOTS])
    assert ours[:, 0] == pytest.approx(f1) and 0 < np.mean(f1) < 1
    assert ours[:, 1].sum() / ours[:, 2].sum() == pytest.approx(cer)


def test_the_eer_is_that_of_s3prl() -> None:
    """s3prl's utils.EER: the ROC of scikit-learn, cut by the diagonal; with equal scores too."""
    random = np.random.default_rng(0)
    for decimals in (6, 1):
        same = random.integers(2, size=300)
        score = np.round(random.normal(size=300) + same, decimals)
        alarms, accepted, _ = roc_curve(same, score)
        theirs = brentq(lambda x, a=alarms, b=accepted: 1 - x - interp1d(a, b)(x), 0, 1)
        items = Items([str(trial) for trial in range(300)], {"score": score, "same": same.astype(float)})
        assert value(EqualErrorRate(), items) == pytest.approx(100 * theirs, abs=1e-6)
        assert value(EqualErrorRate(), ranked(items)) == pytest.approx(100 * theirs, abs=1e-6)


def test_the_mtwv_is_that_of_the_task_and_a_query_drawn_twice_counts_twice() -> None:
    random = np.random.default_rng(1)
    queries, documents = [f"q{n}" for n in range(6)], [f"d{n}" for n in range(30)]
    truth = {query: {*random.choice(documents, 2, replace=False)} for query in queries}
    scores = {
        query: {one: round(random.normal() + 3 * (one in truth[query]), 1) for one in documents} for query in queries
    }
    pairs = [(query, one) for query in queries for one in documents]
    columns = {
        "score": np.array([scores[query][one] for query, one in pairs]),
        "true": np.array([float(one in truth[query]) for query, one in pairs]),
    }
    items = Items([f"{query} {one}" for query, one in pairs], columns, np.repeat(np.arange(6), 30))
    assert value(TermWeightedValue(), items) == pytest.approx(100 * mtwv.mtwv(scores, truth, {*documents}))
    weights = np.repeat([[2.0, 0, 1, 1, 1, 1]], 30, axis=1)
    twice = {**{query: scores[query] for query in queries if query != "q1"}, "again": scores["q0"]}
    sought = {**{query: truth[query] for query in twice if query != "again"}, "again": truth["q0"]}
    expected = 100 * mtwv.mtwv(twice, sought, {*documents})
    assert TermWeightedValue().over(items)(weights)[0] == pytest.approx(expected)


def test_folds_count_alike_however_many_items_they_have() -> None:
    one, other = (Items(names, {"right": np.array(right)}) for names, right in (("ab", [1.0, 0.0]), ("a", [1.0])))
    whole = joined([one, other], strata=True)
    assert list(whole.names) == ["1/a", "1/b", "2/a"] and value(Ratio("right"), whole) == 75.0


def test_a_file_of_items_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "items.csv"
    items = Items(["a,b", "c"], {"score": np.array([0.123456789, -2.0])}, np.array([0, 0]))
    path.write_text(as_csv(items))
    found = read_items(path)
    assert list(found.names) == list(items.names) and found.unit_count == 1
    assert found.columns["score"].tolist() == items.columns["score"].tolist()
    for text in ("item,right\na,x\n", "item,right\na,nan\n", "item,right\n", "item,right\na,1\na,1\n", "name\na\n"):
        path.write_text(text)
        with pytest.raises(UserError, match="expected a line of numbers for each item"):
            read_items(path)


def test_predictions_of_other_utterances_than_the_truth_are_refused(tmp_path: Path) -> None:
    predictions, truth = tmp_path / "predict.txt", tmp_path / "truth.txt"
    predictions.write_text("a yes\nb no\n")
    with pytest.raises(UserError, match="truth.txt: no such file"):
        paired_lines(predictions, truth)
    for text, problem in (("a yes\nc no\n", "found c, expected b"), ("a yes\n", "found 1 lines, expected 2")):
        truth.write_text(text)
        with pytest.raises(UserError, match=problem):
            paired_lines(predictions, truth)
    truth.write_text("a yes\nb yes\n")
    assert paired_lines(predictions, truth) == [("a", "yes", "yes"), ("b", "no", "yes")]


def test_every_task_gives_its_first_metric_again() -> None:
    assert [name for name, task in TASKS.items() if task.metrics[0].key not in task.statistics] == []

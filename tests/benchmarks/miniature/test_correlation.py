"""Whether the distance predicts the tasks: tau-b and its p value, and the line that says what follows."""

from __future__ import annotations

import math
from typing import Any

import pytest

from miniature.correlation import correlation_table, order
from miniature.scores import Form
from s3prl_gendistiller.superb.tasks import TASKS
from tests.benchmarks.miniature.markdown import read

PR, KS = ((TASKS[name], TASKS[name].metrics[0]) for name in ("pr", "ks"))


def made(*rows: tuple[float, float, float], seeds: int = 1) -> tuple[dict[str, Any], dict[str, Form]]:
    """Results and forms of distance, PER and accuracy; another seed of a form is a little better on everything."""
    students, forms = {}, {}
    for number, (distance, per, acc) in enumerate(rows):
        names = [f"form{number}.{seed}" for seed in range(seeds)]
        for seed, name in enumerate(names):
            tasks = {"pr": {"values": {"per": per - seed / 100}}, "ks": {"values": {"acc": acc + seed / 100}}}
            students[name] = {"tasks": tasks}
        forms[f"form{number}"] = Form(names, [distance - seed / 100 for seed in range(seeds)])
    return {"students": students}, forms


def answer(text: str) -> str:
    return text.split("\n\n")[0].removeprefix("Does the distance predict the tasks? ")


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
    found = order(x, y)
    assert found.count == len(x) and found.tau == (None if tau is None else pytest.approx(tau))


def test_the_p_value_of_a_perfect_order_is_that_of_two_of_all_orders() -> None:
    assert order([1, 2, 3, 4, 5], [1, 2, 3, 4, 5]).p == pytest.approx(2 / math.factorial(5))


def test_nearer_is_better_whatever_the_direction_of_the_metric() -> None:
    results, forms = made((0.4, 30, 60), (0.5, 35, 80), (0.6, 40, 90))
    text = correlation_table(results, forms, [PR, KS])
    rows = {row[""]: row for row in read(text)[0]}
    assert rows["over students"] == {"": "over students", "PR PER % ↓": "+1.00", "KS acc % ↑": "-1.00"}
    assert rows["students"]["PR PER % ↓"] == rows["forms"]["PR PER % ↓"] == "3"
    assert rows["p (Holm), over forms"]["PR PER % ↓"] == ""
    assert answer(text) == (
        "Over 3 students of 3 forms, the nearer to the teacher, the better on PR PER % ↓ +1.00; the worse on "
        "KS acc % ↑ -1.00. So few forms cannot show an order."
    )


def test_seeds_are_students_but_no_forms() -> None:
    results, forms = made((0.4, 30, 70), (0.5, 35, 70), seeds=3)
    (table,) = read(correlation_table(results, forms, [PR, KS]))
    rows = {row[""]: row for row in table}
    assert rows["students"]["PR PER % ↓"] == "6" and rows["forms"]["PR PER % ↓"] == "2"
    assert rows["over students"]["PR PER % ↓"] == "+1.00"
    # accuracy by seed alone: within each form the nearer is better, 6 pairs of which agree and 3 disagree across; 3 tie
    assert rows["over students"]["KS acc % ↑"] == f"{(6 + 3 - 3) / math.sqrt(15 * 12):+.2f}"


def test_five_forms_in_order_show_it_after_the_correction() -> None:
    rows = [(0.4 + n / 10, 30 + n, 60 + n % 2) for n in range(6)]
    text = correlation_table(*made(*rows), [PR, KS])
    by_name = {row[""]: row for row in read(text)[0]}
    assert by_name["p (Holm), over forms"]["PR PER % ↓"] == f"{2 * 2 / math.factorial(6):.3f}"
    assert answer(text).endswith("The forms show it (p (Holm) below 0.05) on PR PER % ↓ +1.00.")
    mixed = [(0.4, 30, 60), (0.5, 33, 61), (0.6, 31, 59), (0.7, 30.5, 62), (0.8, 34, 58)]
    assert "The forms show this on no metric" in answer(correlation_table(*made(*mixed), [PR, KS]))


def test_forms_without_a_distance_or_a_score_do_not_count() -> None:
    results, forms = made((0.4, 30, 60), (0.5, 35, 80), (0.6, 40, 90))
    forms["form0"] = Form(forms["form0"].students, [])
    del results["students"]["form1.0"]["tasks"]["ks"]
    rows = {row[""]: row for row in read(correlation_table(results, forms, [PR, KS]))[0]}
    assert (rows["forms"]["PR PER % ↓"], rows["forms"]["KS acc % ↑"]) == ("2", "1")
    one = {"form2": forms["form2"]}
    assert answer(correlation_table(results, one, [PR, KS])).startswith("Not known: fewer than two students")

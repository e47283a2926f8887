"""Contenders that take turns, fail alone, and stop in time."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
import torch
from torch import nn

from s3prl_gendistiller.errors import UserError
from stock.interleaved import TIMED, Contender, measure
from stock.training import PARTS, Clock, optimiser_step

CPU = torch.device("cpu")


def contender(name: str, order: list[str], fails_at: int | None = None, error: str = "") -> Contender:
    def build(clock: Clock) -> Callable[[], None]:
        model = nn.Linear(3, 1)
        step = optimiser_step(model, lambda: model(torch.ones(1, 3)).sum(), clock)

        def counted() -> None:
            if order.count(name) == fails_at:
                raise RuntimeError(error)
            order.append(name)
            step()

        return counted

    return Contender(name, build, keeps_memory=name != "a")


def test_contenders_take_turns_of_several_steps() -> None:
    order: list[str] = []
    rows, seen = [contender("a", order), contender("b", order)], []
    measure(rows, CPU, 3, after=lambda: seen.append([len(row.seconds) for row in rows]))
    turn = 1 + TIMED
    assert order == ["a"] * 2 + ["b"] * 2 + (["a"] * turn + ["b"] * turn) * 3
    assert seen == [[1, 1], [2, 2], [3, 3]]
    for row in rows:
        assert len(row.parts) == len(row.cpu_seconds) == 3 and min(row.seconds) > 0
        assert all(
            0 < sum(parts[part] for part in PARTS) <= 1.01 * s for parts, s in zip(row.parts, row.seconds, strict=True)
        )


@pytest.mark.parametrize("step", [0, 3])
@pytest.mark.parametrize(
    ("error", "problem"),
    [
        ("CUDA out of memory. Tried to allocate 2 GiB", "does not fit in memory"),
        ("DefaultCPUAllocator: can't allocate memory", "does not fit in memory"),
        ("no kernel image\nmore", "failed: no kernel image"),
    ],
)
def test_a_contender_that_fails_is_named_and_the_others_go_on(step: int, error: str, problem: str) -> None:
    order: list[str] = []
    rows = [contender("a", order, step, error), contender("b", order)]
    measure(rows, CPU, 2)
    assert rows[0].problem == problem and not rows[0].seconds and rows[0].step is None
    assert not rows[1].problem and len(rows[1].seconds) == 2
    with pytest.raises(UserError, match=f"a: {problem}"):
        measure(rows[:1], CPU, 1)


def test_no_round_begins_that_would_end_too_late(monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    rows = [contender("a", order), contender("b", order)]
    measure(rows, CPU, 100, ends=time.monotonic() + 0.3)
    assert 1 <= len(rows[0].seconds) < 100
    late = [contender("a", order), contender("b", order)]
    now = iter([0, 1, 1, 2, *range(20, 100)])  # a is prepared at 1 s, b would be at 20 s
    monkeypatch.setattr(time, "monotonic", lambda: next(now))
    measure(late, CPU, 5, ends=15)
    assert late[1].problem == "not measured, for lack of time" and len(late[0].seconds) == 1

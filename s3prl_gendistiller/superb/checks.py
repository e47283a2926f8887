"""Checks of the entries of a file that its user may have edited, each with its words for a message."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from s3prl_gendistiller.superb.tasks import Metric

Check = tuple[Callable[[Any], bool], str]
"""A function that decides whether an entry is right, and a description of right entries."""


def value_problem(metric: Metric, value: Any) -> str | None:
    """The problem with the value of a metric, or None; percents are at least 0, and accuracies at most 100."""
    percent = "%" in metric.label
    low = 0.0 if percent else -math.inf
    high = 100.0 if percent and metric.higher_is_better else math.inf
    if _is_number(value) and low <= value <= high:
        return None
    expected = "0 to 100" if high == 100.0 else "0 or more" if percent else "a finite number"
    return f"found {one_line(value)}, expected {expected}"


def wrong(section: Mapping[str, Any], where: str, **checks: Check) -> Iterator[str]:
    """One line for each wrong entry of a section, which `where` names; a missing entry is right."""
    for key, (fits, expected) in checks.items():
        if key in section and not fits(section[key]):
            yield f"{where}.{key}: found {one_line(section[key])}, expected {expected}".removeprefix(".")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and value.isprintable()


def _are_numbers(value: Any) -> bool:
    return isinstance(value, dict) and all(
        key.isprintable() and (one is None or _is_number(one)) for key, one in value.items()
    )


def one_of(known: tuple[str, ...]) -> Check:
    return (lambda value: value in known), " or ".join(known)


def or_null(check: Check) -> Check:
    return (lambda value: value is None or check[0](value)), f"{check[1]} or null"


def one_line(value: Any) -> str:
    """A value on one short line, without control characters."""
    return "a mapping" if isinstance(value, dict) else "a list" if isinstance(value, list) else ascii(value)[:60]


def unquoted(value: Any) -> str:
    """A value on one line of at most 200 characters, without control characters and, for a text, without quotes."""
    text = str(value)[:200]
    return text if text.isprintable() else ascii(text)[1:-1]


OTHER = Metric("", "", True)
"""A metric of which only the number is checked."""
TEXT: Check = (_is_text, "text without control characters")
COUNT: Check = (lambda value: isinstance(value, int) and not isinstance(value, bool) and value >= 0), "a whole number"
NUMBER: Check = (_is_number, "a finite number")
AMOUNT: Check = (lambda value: _is_number(value) and value >= 0), "a number of at least 0"
MAPPING: Check = (lambda value: isinstance(value, dict)), "a mapping"
TEXTS: Check = (lambda value: isinstance(value, list) and all(map(_is_text, value))), "a list of texts"
NUMBERS: Check = _are_numbers, "a mapping of finite numbers"
TRIALS: Check = (
    (lambda value: isinstance(value, dict) and all(map(_are_numbers, value.values()))),
    "mappings of finite numbers",
)

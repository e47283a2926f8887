"""Single values of a configuration: the check of their type and range, and their form in messages."""

from __future__ import annotations

import contextlib
import difflib
import math
import operator
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any


def convert_scalar(value: Any, hint: Any, name: str, checks: Mapping[str, Any], problems: list[str]) -> Any:
    """`value` in the type `hint`; problems are added to `problems`, each with the full key `name`."""
    if hint is float and isinstance(value, int | str) and not isinstance(value, bool):
        with contextlib.suppress(OverflowError, ValueError):  # YAML 1.1 reads 1e-4, without a dot, as text
            value = float(value)
    if hint is not Any and (not isinstance(value, hint) or (hint is not bool and isinstance(value, bool))):
        problems.append(f"{name}: found {with_type(value)}, expected {_TYPE_NAMES.get(hint, hint.__name__)}")
        return None
    if isinstance(value, float) and not math.isfinite(value):  # the range checks below would accept NaN
        problems.append(f"{name}: found {value}, expected a finite number")
        return None
    problems.extend(f"{name}: {problem}" for problem in _out_of_range(value, checks))
    return value


def _out_of_range(value: Any, checks: Mapping[str, Any]) -> Iterator[str]:
    if "choices" in checks and value not in checks["choices"]:
        yield f"found {shown(value)}, {one_of(value, list(map(str, checks['choices'])))}"
    for name, (holds, expected) in _LIMITS.items():
        if name in checks and not holds(value, checks[name]):
            yield f"found {shown(value)}, expected {expected} {checks[name]}"


def unknown_keys(cls: Any, content: Mapping[Any, Any], known: Sequence[str], spelt: Iterable[str]) -> Iterator[str]:
    """One line for each key of `content` that is none of `spelt`, with the way on from the class of its section.

    A class may map keys of earlier versions, which a checkpoint may still hold, to the value without an effect, with
    which alone a section may hold them (``retired``), and keys of other sections to advice (``elsewhere``).
    """
    retired, moved = getattr(cls, "retired", {}), getattr(cls, "elsewhere", {})
    for name, value in content.items():
        if name in retired:
            if value != retired[name]:
                yield f"{name}: found {shown(value)}, a key of an earlier version; leave it out"
        elif name not in spelt:
            way_on = moved.get(name) or _closest(name, known) or f"known here: {', '.join(known)}"
            yield f"{str(name)[:80]}: unknown key; {way_on}"


def one_of(found: object, known: Sequence[str]) -> str:
    """All expected names, and the one close to a misspelt name."""
    expected = f"expected one of {', '.join(known)}" if len(known) > 1 else f"expected {known[0]}"
    closest = _closest(found, known)
    return f"{expected}; {closest}" if closest else expected


def _closest(found: object, known: Sequence[str]) -> str:
    if not isinstance(found, str):
        return ""
    spelt = {name.lower(): name for name in known}
    close = difflib.get_close_matches(found[:80].lower(), spelt, n=1, cutoff=0.5)
    return f"did you mean {spelt[close[0]]}?" if close else ""


_LIMITS: dict[str, tuple[Callable[[Any, Any], bool], str]] = {
    "low": (operator.ge, "at least"),
    "high": (operator.le, "at most"),
    "above": (operator.gt, "more than"),
    "below": (operator.lt, "less than"),
}
_TYPE_NAMES = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}


def with_type(value: Any) -> str:
    """A value with its type, for a message."""
    if value is None:
        return "null"
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    return f"{shown(value)} ({_TYPE_NAMES.get(type(value), type(value).__name__)})"


def shown(value: Any) -> str:
    """A value for a message, shortened: a configuration may hold text of any length."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # a number of thousands of digits, or thousands of nested lists
        return "a value too long to show"
    return text if len(text) <= 120 else f"{text[:120]}..."

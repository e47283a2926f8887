"""The marks of a board: each student against one control, by the runs that both left in their suite."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.superb.board.rows import key
from s3prl_gendistiller.superb.board.suites import FinishedSuite
from s3prl_gendistiller.superb.comparison.compared import Compared, compare_students, read_pair
from s3prl_gendistiller.superb.comparison.report import method, of_runs, reasons
from s3prl_gendistiller.superb.comparison.resampling import holm

Place = tuple[str, str]
"""Label of the suite, name of the student."""


def marks(suites: Sequence[FinishedSuite], control: str) -> dict[str, Any]:
    """The differences of all students from the control of their suite, corrected for their number, and what they mean.

    Raises:
        UserError: no suite has a student of this name, or the suites that have one have no other student.
    """
    found: list[tuple[Place, Compared]] = []
    runs: dict[str, str] = {}
    left_out: list[str] = []
    compared = 0
    for one in suites:
        names = list(one.suite.groups())
        if control not in names:
            left_out.append(f"{one.label}: not compared, because it has no student {control}.")
            continue
        for name in names:
            if name != control:
                compared += 1
                first, second = read_pair(one.path, (name, control))
                rows, missing = compare_students(first, second, one.suite.tasks)
                found += [((one.label, name), row) for row in rows]
                left_out += [f"{one.label}, {name}: {line}" for line in reasons(missing)]
                runs |= {f"{one.label}, {name}": of_runs(first), f"{one.label}, {control}": of_runs(second)}
    if not compared:
        known = ", ".join(dict.fromkeys(name for one in suites for name in one.suite.groups())) or "no suite"
        raise UserError(
            f"--compare: found {control}, expected a student that stands in one suite with another; found {known}"
        )
    corrected = holm([row.found.p for _, row in found]) if found else []
    whole = [(place, replace(row, corrected=p)) for (place, row), p in zip(found, corrected, strict=True)]
    several = f"{len(whole)} differences" if len(whole) > 1 else "1 difference"
    notes = method("each student", control, several, [row for _, row in whole]) if whole else []
    lines = [f"{place}: {line}" for place, line in runs.items()]
    return {
        "control": control,
        "marks": [_plain(place, row) for place, row in whole],
        "notes": [*notes, *lines],
        "reasons": left_out,
    }


def _plain(place: Place, row: Compared) -> dict[str, Any]:
    suite, name = place
    return {
        "suite": suite,
        "name": name,
        "key": key(row.task, row.metric),
        "word": row.word,
        "values": list(row.found.values),
        "difference": row.found.difference,
        "low": row.found.low,
        "high": row.found.high,
        "p": row.corrected,
        "items": row.found.items,
        "seeds": "{} / {}".format(*row.found.seeds),
    }

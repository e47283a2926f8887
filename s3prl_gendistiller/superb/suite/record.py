"""superb.json of a run: its finished parts.

The file is written whole after each finished part: ``settings``, ``trained``, and one entry for each evaluation
(`TEST`, `DEV`, `TEST_WITH_LM`). A search that trains in parts adds ``stages``: number of steps -> value on dev,
and seconds.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from s3prl_gendistiller.documents import read_json
from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.outputs import write_text
from s3prl_gendistiller.superb.checks import AMOUNT, MAPPING, NUMBER, NUMBERS, TEXT, one_line, or_null, unquoted, wrong
from s3prl_gendistiller.superb.suite.run import DEV, RUNS, TEST, TEST_WITH_LM, Run
from s3prl_gendistiller.superb.suite.suite import Suite

RECORD = "superb.json"
Record = dict[str, Any]


def read_record(run: Run) -> Record:
    """The record of a run; for a new run the settings alone. UserError if it is broken, or of other settings."""
    path, settings = run.folder / RECORD, run.settings()
    return checked_record(path, settings) if path.is_file() else {"settings": settings}


def write_record(run: Run, record: Record) -> Record:
    write_text(run.folder / RECORD, json.dumps(record, indent=2, allow_nan=False) + "\n")
    return record


def checked_record(path: Path, settings: Mapping[str, Any]) -> Record:
    """A record, with every entry checked, that was made with these settings."""
    try:
        record = read_json(path)
    except UserError as error:
        raise UserError(f"{error}. Remove {path.parent} to run it again") from error
    if problems := list(_problems(record)):
        raise UserError(f"{path}: not readable ({problems[0]}); remove {path.parent} to run it again")
    before = record["settings"]
    if changed := [key for key in settings if before.get(key) != settings[key]]:
        values = f"found {unquoted(before.get(changed[0]))}, now {unquoted(settings[changed[0]])}"
        remedy = "give another --out or another name to the student, or remove that folder"
        raise UserError(f"{path.parent}: was made with another {changed[0]} ({values}); {remedy}")
    return dict(record)


def require_own_folders(suite: Suite) -> None:
    """Checks the records below a suite's folder before anything runs; raises as `read_record`."""
    for model in suite.models:
        own = {"student": model.fingerprint()}
        for path in sorted((suite.out / RUNS / model.name).glob(f"*/{RECORD}")):
            task = next((task for task in suite.tasks if path.parent.name.split("-")[0] == task.name), None)
            settings = own if task is None else {**Run(suite, model, task).settings(), "task": path.parent.name}
            checked_record(path, settings)


def seconds_of(record: Record) -> float:
    """Seconds that all finished parts of a run took."""
    parts = [part for part in record.values() if isinstance(part, dict)]
    return sum(part["seconds"] for part in [*parts, *record.get("stages", {}).values()] if "seconds" in part)


def finite(value: float | None) -> float | None:
    """A value on dev for JSON: None in place of NaN and infinity."""
    return None if value is None or not math.isfinite(value) else value


def _problems(record: Any) -> Iterator[str]:
    """One line for each wrong entry among those that are read."""
    if not isinstance(record, dict) or not isinstance(record.get("settings"), dict):
        yield "found no settings in it"
        return
    evaluations = dict.fromkeys((TEST, DEV, TEST_WITH_LM), MAPPING)
    yield from wrong(record, "", trained=MAPPING, stages=MAPPING, **evaluations)
    parts = {name: part for name, part in record.items() if name != "settings" and isinstance(part, dict)}
    stages = {f"stages.{unquoted(steps)}": stage for steps, stage in parts.pop("stages", {}).items()}
    for name, part in {**parts, **stages}.items():
        if not isinstance(part, dict):
            yield f"{name}: found {one_line(part)}, expected a mapping"
            continue
        yield from wrong(part, name, seconds=AMOUNT, dev=or_null(NUMBER), fallback=or_null(TEXT), values=NUMBERS)
        if name in evaluations and not {"values", "seconds", "fallback"} <= part.keys():
            yield f"{name}: found {', '.join(map(one_line, part)) or 'nothing'}, expected values, seconds and fallback"
    if "trained" in parts and not {"dev", "seconds"} <= parts["trained"].keys():
        yield "trained: found no dev or no seconds in it"

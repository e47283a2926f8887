"""superb_items.csv of a run: one line for each item of its test, kept beside the record of the number they make.

A later evaluation replaces what s3prl's expert wrote, the file stays. A suite that was run before the file existed has
its items still in what the expert wrote.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from s3prl_gendistiller.documents import read_yaml
from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.host.paths import RESOLVED_CONFIG
from s3prl_gendistiller.outputs import write_text
from s3prl_gendistiller.superb.suite.record import RECORD, checked_record
from s3prl_gendistiller.superb.suite.run import TEST, Run
from s3prl_gendistiller.superb.tasks import Task
from s3prl_gendistiller.superb.tasks.items import Items, as_csv, read_items
from s3prl_gendistiller.superb.tasks.statistics import value

ITEMS = "superb_items.csv"
_APART = 0.01  # between a number and what the items make, in the unit of the metric's label; s3prl rounds to single

logger = logging.getLogger(__name__)


class _MissingPackage(UserError):
    """A package that reads what s3prl's expert wrote is not installed; another test would not help."""


def keep_items(run: Run, values: Mapping[str, float]) -> None:
    """Writes the items of a run that has just been tested; a run whose items are not whole keeps its number alone.

    Args:
        values: the metrics of the test.
    """
    path = run.folder / ITEMS
    path.unlink(missing_ok=True)
    if not run.task.statistics or run.tested_split != run.task.test:
        return
    try:
        config = run.suite.config(run.task).get("downstream_expert", {})
        write_text(path, as_csv(_made(run.task, run.folder, config, values)))
    except UserError as error:
        logger.warning("%s %s: the items of its test are not kept (%s)", run.model.name, run.name, error)


def items_of(folder: Path, task: Task) -> Items:
    """The items of a finished run; UserError says what is missing and how the test is repeated."""
    record = checked_record(folder / RECORD, {})
    tested = record.get(TEST)
    if tested is None:
        raise UserError(f"{folder}: was not tested; repeat the command of its suite")
    try:
        if (folder / ITEMS).is_file():
            return _adding_up(task, read_items(folder / ITEMS), tested["values"])
        config = read_yaml(folder / RESOLVED_CONFIG).get("downstream_expert", {})
        return _made(task, folder, config, tested["values"])
    except _MissingPackage:
        raise
    except UserError as error:
        checkpoint = tested.get("checkpoint") or task.best
        if checkpoint:
            again = f"run_downstream.py -m evaluate -t {task.test} -e {folder / checkpoint}"
        else:
            again = f"gendistiller superb --dry-run prints its command, run_downstream.py -m evaluate for {task.test}"
        first = f"remove {ITEMS} there and " if (folder / ITEMS).is_file() else ""
        raise UserError(f"{folder}: keeps no items of its test ({error}); {first}test again: {again}") from error


def _made(task: Task, folder: Path, config: Mapping[str, Any], values: Mapping[str, float]) -> Items:
    """The items from what s3prl's expert wrote; UserError if they do not make the number that s3prl printed."""
    try:
        return _adding_up(task, task.items(folder, config), values)
    except ImportError as error:
        command = f'pip install "s3prl-gendistiller[{task.name}]"'
        raise _MissingPackage(f"{folder}: its items cannot be read ({error}); install: {command}") from error
    except (OSError, LookupError, ValueError, TypeError, AttributeError) as error:
        raise UserError(f"what s3prl's expert wrote is not readable: {error}") from error


def _adding_up(task: Task, items: Items, values: Mapping[str, float]) -> Items:
    for metric in task.metrics:
        if metric.key in task.statistics and metric.key in values:
            made = value(task.statistics[metric.key], items)
            if not abs(made - values[metric.key]) <= _APART:
                found = f"make {made:.4f} {metric.label}, expected {values[metric.key]:.4f}"
                raise UserError(f"{len(items.names):,} items {found}, which the test printed")
    return items

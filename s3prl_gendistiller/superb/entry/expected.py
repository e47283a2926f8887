"""The ids that a task is tested on, by the corpus that an experiment's configuration names."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from s3prl_gendistiller.errors import UserError, few
from s3prl_gendistiller.host.paths import RESOLVED_CONFIG
from s3prl_gendistiller.superb.tasks.base import Task
from s3prl_gendistiller.superb.tasks.needs import Config
from s3prl_gendistiller.superb.tasks.predictions import Expected, Predictions


def expected(task: Task, config: Config, fold: str = "") -> Expected:
    """`Task.test_set` by an experiment's configuration; UserError if the corpus, or the list of it, is not there."""
    try:
        found = task.test_set(config["downstream_expert"], fold)
    except OSError as error:
        raise UserError(f"no {error.filename}") from error
    except KeyError as error:
        raise UserError(f"{error} is neither in the experiment's configuration nor in its corpus") from error
    except (UserError, ValueError, TypeError, IndexError, AttributeError) as error:
        raise UserError(f"its corpus is not as s3prl reads it: {error}") from error
    if not found.ids:
        raise UserError(f"{found.source} names no utterance of the test set")
    return found


def config_files(folder: Path) -> list[Path]:
    """The configurations in an experiment folder: our launcher's, then s3prl's own, the newest first."""
    hosts = [path for path in folder.glob("config_*.yaml") if re.fullmatch(r"config_[\d-]+\.yaml", path.name)]
    newest_first = sorted(hosts, key=lambda path: path.stat().st_mtime, reverse=True)
    return [*filter(Path.is_file, [folder / RESOLVED_CONFIG]), *newest_first]


def differences(found: Predictions, expected: Expected) -> list[str]:
    """Missing, foreign, repeated and misplaced ids, and recordings with too few frames."""
    wanted, given = Counter(expected.ids), Counter(found.ids)
    missing, foreign = list((wanted - given).elements()), list((given - wanted).elements())
    if missing or foreign:
        parts = [f"{len(found.ids)} predictions, expected {len(expected.ids)} by {expected.source}"]
        parts += [f"missing {few(missing)}"] if missing else []
        parts += [f"too many or foreign {few(foreign)}"] if foreign else []
        return ["; ".join(parts)]
    if misplaced := _first_misplaced(found.ids, expected):
        return [misplaced]
    return [
        f"{name}: {found.frames[name]} frames, expected at least {samples // found.frame_samples}"
        for name, samples in expected.samples.items()
        if found.frame_samples and found.frames.get(name, math.inf) < samples // found.frame_samples
    ]


def _first_misplaced(ids: Sequence[str], expected: Expected) -> str:
    """A message on the first id in a wrong place; empty for none."""
    if expected.ranks is None:
        for number, (name, wanted) in enumerate(zip(ids, expected.ids, strict=True), start=1):
            if name != wanted:
                return f"line {number}: found {name}, expected {wanted}, the order of {expected.source}"
        return ""
    rank = dict(zip(expected.ids, expected.ranks, strict=True))
    begun: set[int] = set()
    before = None
    for number, name in enumerate(ids, start=1):
        here = rank[name]
        if expected.in_blocks and here != before and here in begun:
            found = f"{name} is separated from the other utterances of its class"
            return f"line {number}: {found}; {expected.source} is read class by class"
        if not expected.in_blocks and before is not None and here < before:
            found = f"{name} is longer than the utterance before {name}"
            return f"line {number}: {found}; {expected.source} orders utterances from long to short"
        begun.add(here)
        before = here
    return ""

"""SUPERB's ten tasks, one file each.

Protocol: SUPERB (arXiv 2105.01051) and s3prl's downstream/docs/superb.md. The checkpoint that is best on dev is tested;
ASV has no dev set and reports the best of its checkpoints; ER is the mean of five folds; QbE trains nothing and takes
the layer that is best on dev.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.superb.tasks import asr, asv, er, ic, ks, pr, qbe, sd, sf, sid
from s3prl_gendistiller.superb.tasks.base import PRESETS, PUBLISHED_CORPORA, Metric, Task, require_packages

__all__ = ["PRESETS", "PUBLISHED_CORPORA", "TASKS", "Metric", "Task", "choose_tasks", "require_packages"]

TASKS: dict[str, Task] = {module.TASK.name: module.TASK for module in (pr, asr, ks, qbe, sid, asv, sd, ic, sf, er)}


def choose_tasks(names: Sequence[str], preset: str = "official") -> list[Task]:
    """Tasks by name; "all" is every task of a preset.

    Raises:
        UserError: a name is unknown (the message suggests a similar one), or the preset lacks the task.
    """
    chosen: dict[str, Task] = {}
    there = {name: task for name, task in TASKS.items() if preset in task.presets}
    for name in names:
        if name.lower() == "all":
            chosen.update(there)
            continue
        if name.lower() not in TASKS:
            words = {alias: task for task in TASKS.values() for alias in (task.name, task.title, task.downstream)}
            close = [words[word] for word in difflib.get_close_matches(name.lower(), words, n=1, cutoff=0.5)]
            suggestion = f"; did you mean {close[0].name} ({close[0].title})?" if close else ""
            raise UserError(f"--tasks: found {name!r}, expected {', '.join(TASKS)} or all{suggestion}")
        if name.lower() not in there:
            remedy = "leave it out, or choose another preset"
            raise UserError(
                f"--tasks: found {name}, which the preset {preset} lacks; it has {', '.join(there)}; {remedy}"
            )
        chosen[name.lower()] = there[name.lower()]
    return list(chosen.values())

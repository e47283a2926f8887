"""A check of a run's data before the run starts, short enough for every start.

All lists are read; of the audio, some files of each folder. Files are checked again when s3prl reads them
(`host.shims.task_data`). Missing data is left to s3prl, since a run does not need all of its task's data.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from s3prl_gendistiller.errors import UserError, shortened
from s3prl_gendistiller.superb.corpus.check import Shelf, audio_faults, rate_of
from s3prl_gendistiller.superb.corpus.lists import content_faults, listing_faults
from s3prl_gendistiller.superb.tasks import TASKS
from s3prl_gendistiller.superb.tasks.needs import LEFT_OUT, Need

SAMPLE = 1_000
"""Files of a folder whose headers are read: a second of work on a local disk."""
_LISTED = 10

logger = logging.getLogger(__name__)


def refuse_unfit(downstream: str, config: Mapping[str, Any]) -> None:
    """UserError, which names files and lines, if s3prl would misread some of the data or fail on it.

    Args:
        downstream: s3prl's name of the task.
        config: the section `downstream_expert`, paths filled in.
    """
    need = _need_of(downstream, config)
    if need is None:
        return
    shelf = Shelf(sample=SAMPLE, progress=False)
    found = {audio: shelf.audio(audio) for audio in need.audio}
    common_hz = rate_of(found.values())
    problems = [problem for audio, files in found.items() for problem in audio_faults(audio, files, common_hz)]
    present = {str(file) for files in found.values() for file in files.files}
    for listing in need.listings:
        if listing.path.exists():
            problems += listing_faults(listing, present, compared=False, config=need.config)
    for problem in content_faults(need, lambda audio: shelf.audio(audio).files):
        if LEFT_OUT in problem:
            logger.warning("%s", problem)
        else:
            problems.append(problem)
    problems = list(dict.fromkeys(problems))
    if problems:
        head = f"-d {downstream}: {len(problems)} problems in its data (`gendistiller data check` looks at all of it)"
        raise UserError("\n  ".join(shortened([f"{head}: {problems[0]}", *problems[1:]], _LISTED)))


def _need_of(downstream: str, config: Mapping[str, Any]) -> Need | None:
    """Audio and lists that a run reads; None for a task beyond SUPERB, or a configuration without keys of SUPERB's."""
    try:
        for task in TASKS.values():
            if task.downstream == downstream and task.is_configured_by(config):
                return task.need(config)
    except (KeyError, TypeError, AttributeError):
        pass
    return None

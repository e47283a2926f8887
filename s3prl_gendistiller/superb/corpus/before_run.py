"""A look at the data of a run before it starts, short enough for every start.

All lists are read; of the audio, some files of each folder. The rest is made sure of when it is read
(`host.shims.task_data`). What is not there is left to s3prl, since a run needs not all of its task's data.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.superb.corpus.audio import audio_faults, rate_of
from s3prl_gendistiller.superb.corpus.check import Shelf, listing_problems
from s3prl_gendistiller.superb.corpus.contents import contents
from s3prl_gendistiller.superb.corpus.kaldi_check import LEFT_OUT
from s3prl_gendistiller.superb.corpus.needs import need_of

SAMPLE = 1_000
"""Files of a folder: a second of work where a disk is near."""
_LISTED = 10

logger = logging.getLogger(__name__)


def refuse_unfit(downstream: str, expert: Mapping[str, Any]) -> None:
    """
    Args:
        downstream: s3prl's name of the task.
        expert: its `downstream_expert`, paths filled in.

    Raises:
        UserError: there is data that s3prl would take for something else, or fail on; it names files and lines.
    """
    need = need_of(downstream, expert)
    if need is None:
        return
    shelf = Shelf(sample=SAMPLE, progress=False)
    found = {part: shelf.audio(part) for part in need.parts}
    common_hz = rate_of(found.values())
    problems = [problem for part, audio in found.items() for problem in audio_faults(part, audio, common_hz)]
    present = {str(file) for audio in found.values() for file in audio.files}
    for listing in need.listings:
        if listing.named is not None and listing.path.exists():
            problems += listing_problems(listing, listing.named, present, compared=False, config=need.config)
    for problem in contents(need, lambda part: shelf.audio(part).files):
        if LEFT_OUT in problem:
            logger.warning("%s", problem)
        else:
            problems.append(problem)
    problems = list(dict.fromkeys(problems))
    if problems:
        more = [f"and {len(problems) - _LISTED} more"] if len(problems) > _LISTED else []
        head = f"-d {downstream}: {len(problems)} problems in its data (`gendistiller data check` looks at all of it)"
        raise UserError("\n  ".join([f"{head}: {problems[0]}", *problems[1:_LISTED], *more]))

"""Recordings that are held out of training: whole files, or whole folders so that no speaker stands on both sides.

The choice follows from a seed and from the paths of the files alone. A file or folder has a rank, the hash of the seed
and of its path. Files that are added later therefore rarely move another file to the other side.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from s3prl_gendistiller.distill.listing import Recording
from s3prl_gendistiller.errors import UserError, few


@dataclass(frozen=True)
class HoldOut:
    """What is held out.

    Attributes:
        given: the amount as the user wrote it, for messages.
        amount: a float is a share of the files, between 0 and 1; a whole number is a number of files.
        by: the smallest part that is held out: a file, or all files below one folder of the listed folder. Files
            that stand in the listed folder itself count as one folder.
    """

    given: str
    amount: float | int
    by: Literal["file", "folder"] = "file"
    seed: int = 0


def split(recordings: Sequence[Recording], hold_out: HoldOut) -> tuple[list[Recording], list[Recording]]:
    """The recordings to train on and the held-out recordings; both keep the given order, and neither is empty.

    By folder, folders are taken as long as the number of held-out files stays within the amount. If every folder has
    more files than that, the smallest folder is taken.

    Raises:
        UserError: one side would be empty.
    """
    wanted = files_wanted(len(recordings), hold_out)
    parts = Counter(_part(recording, hold_out.by) for recording in recordings)  # files of each part
    if len(parts) < 2:
        raise UserError(_too_few(hold_out, recordings, parts))
    if wanted >= len(recordings):
        raise UserError(
            f"--hold-out {hold_out.given}: found {len(recordings)} audio files, which leaves nothing to train on; hold "
            f"out at most {len(recordings) - 1}"
        )
    held: set[str] = set()
    free = wanted
    for name in sorted(parts, key=lambda part: _rank(part, hold_out.seed)):
        if parts[name] <= free:
            held.add(name)
            free -= parts[name]
    if not held:
        held.add(min(parts, key=lambda part: (parts[part], _rank(part, hold_out.seed))))
    sides: tuple[list[Recording], list[Recording]] = ([], [])
    for recording in recordings:
        sides[_part(recording, hold_out.by) in held].append(recording)
    return sides


def folders_of(recordings: Iterable[Recording]) -> set[str]:
    """The first folders below the listed folder; an empty name stands for the listed folder itself."""
    return {_part(recording, "folder") for recording in recordings}


def files_wanted(total: int, hold_out: HoldOut) -> int:
    """Number of files, of `total`, that the amount means; at least one."""
    amount = hold_out.amount
    return amount if isinstance(amount, int) else max(1, round(amount * total))


def _part(recording: Recording, by: str) -> str:
    return recording.file_path if by == "file" else recording.file_path.rpartition("/")[0].partition("/")[0]


def _rank(part: str, seed: int) -> str:
    return hashlib.sha256(f"{seed}\n{part}".encode()).hexdigest()


def _too_few(hold_out: HoldOut, recordings: Sequence[Recording], parts: Iterable[str]) -> str:
    if hold_out.by == "file":
        return (
            f"--hold-out {hold_out.given}: found one audio file, {few(parts)}, expected at least two; leave --hold-out "
            "out, or cut the recording into several files"
        )
    where = "all in one folder, " + "".join(parts) if any(parts) else "none of them in a folder of its own"
    return (
        f"--hold-out-by folder: found {len(recordings)} audio files, {where}; expected at least two folders, one for "
        "each speaker; give --hold-out-by file"
    )

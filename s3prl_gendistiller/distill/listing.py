"""The audio files below a folder: which set each file belongs to, its length, and the files that cannot be used."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from s3prl_gendistiller.distill.audio import SUFFIXES, Measured, measured
from s3prl_gendistiller.distill.files import files_below, of_each_file
from s3prl_gendistiller.errors import UserError, shortened

SPLIT_PREFIXES = ("train-clean", "train-other", "dev-clean", "dev-other", "test-clean", "test-other")
"""First parts of the names of LibriSpeech's split folders; a size such as `-100` may follow."""
_NAMED = 10

logger = logging.getLogger(__name__)


class Recording(NamedTuple):
    """One audio file that can be used."""

    file_path: str  # relative to the listed folder, with slashes
    audio: Measured

    @property
    def samples(self) -> int:
        """Length in samples at 16 kHz."""
        return self.audio.samples


def librispeech_splits(root: Path) -> list[str]:
    """Names of LibriSpeech's split folders in a folder; empty for another layout, and where there is no folder.

    Raises:
        UserError: the folder cannot be listed.
    """
    try:
        names = os.listdir(root) if root.is_dir() else []
    except OSError as error:
        expected = "expected a folder that can be read; correct the path, or change its permissions"
        raise UserError(f"{root}: cannot be listed ({error.strerror or error}); {expected}") from error
    return sorted(name for name in names if name.startswith(SPLIT_PREFIXES) and (root / name).is_dir())


def list_recordings(
    root: Path,
    folders: Mapping[str, Path],
    *,
    workers: int | None = None,
    progress: bool = True,
    skip_bad: bool = False,
    left_out: Counter[str] | None = None,
) -> dict[str, list[Recording]]:
    """The recordings of each set, measured, in the order of their paths.

    Args:
        folders: name of each set -> its folder, `root` or a folder below `root`.
        workers: number of threads; None for four per core.
        skip_bad: leave out unusable files with a warning instead of raising.
        left_out: receives the suffixes of files that do not count as audio, with their numbers.

    Raises:
        UserError: no such folder, no audio in it, or files that cannot be used.
    """
    if not root.is_dir():
        found = "found a file" if root.exists() else "no such folder"
        raise UserError(f"{root}: {found}; expected a folder of audio files; correct the path")
    absent = [name for name, folder in folders.items() if not folder.is_dir()]
    if absent:
        raise UserError(f"{root}: no folder {', '.join(absent)} in it; expected the named splits")
    others: Counter[str] = Counter() if left_out is None else left_out
    files = [(name, path) for name, folder in folders.items() for path in files_below(folder, SUFFIXES, (), others)]
    if not files:
        found = f"found {counted(others)}; convert these, for example with ffmpeg" if others else "found no file at all"
        raise UserError(f"{root}: no audio files found; expected {', '.join(SUFFIXES)} files at any depth; {found}")
    results = of_each_file(
        [path for _, path in files], _measured, workers=workers, description="audio files", progress=progress
    )
    problems = [str(result) for result in results if isinstance(result, UserError)]
    report_bad(problems, len(files), "audio files", skip_bad, "pass --skip-bad to skip them")
    listed: dict[str, list[Recording]] = {name: [] for name in folders}
    for (name, path), result in zip(files, results, strict=True):
        if isinstance(result, Measured):
            listed[name].append(Recording(path.relative_to(root).as_posix(), result))
    return listed


def counted(suffixes: Mapping[str, int]) -> str:
    """Numbers of files by suffix, such as `2 .m4a, 1 .txt`."""
    return ", ".join(f"{count} {suffix}" for suffix, count in sorted(suffixes.items()))


def report_bad(problems: Sequence[str], total: int, what: str, skip_bad: bool, skip: str) -> None:
    """Raises one `UserError` that counts and names the problems; with `skip_bad`, warns if not all files are bad."""
    if not problems:
        return
    lines = shortened(problems, _NAMED)
    if skip_bad and len(problems) < total:
        logger.warning("\n  ".join([f"{len(problems)} of {total} {what} skipped:", *lines]))
        return
    head = f"{len(problems)} of {total} {what} cannot be used; repair them{f' or {skip}' * (len(problems) < total)}:"
    raise UserError("\n  ".join([head, *lines]))


def _measured(path: Path) -> Measured | UserError:
    """The measured file, or the error with the reason why the file cannot be used."""
    try:
        return measured(path)
    except UserError as error:
        return error

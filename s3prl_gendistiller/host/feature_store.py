"""Features on disk: one file for each utterance, within a limit of bytes.

A file is NumPy's .npz with one member, which has the name of the utterance's key and holds all layers: Python spends
more time on each member of an archive than on the bytes in it. Check sums are compared at each reading; nothing is
unpickled.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import logging
import os
import re
import shutil
import time
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from s3prl_gendistiller.distill.audio import SAMPLE_RATE
from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.host.random_waveforms import Drawn, WatchedLoader
from s3prl_gendistiller.outputs import PARTS, check_writable, replacing

CACHE_FLAG, LIMIT_FLAG = "--cache-features", "--cache-limit"
FREE_BYTES = 10**9  # bytes that stay free on the disk for checkpoints
NO_ROOM, REMOVED = "keeps no more features", "removes the features of"  # in messages that a suite shows once
_IN_USE = ".in_use"
_COUNT = ".kept_bytes"
_ABANDONED_S = 3600
_UNREADABLE = (
    *(OSError, ValueError, EOFError, KeyError, TypeError, MemoryError, RuntimeError),
    *(zipfile.BadZipFile, zlib.error),
)
_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}

logger = logging.getLogger(__name__)


def read_size(text: str, flag: str = LIMIT_FLAG) -> int:
    """Number of bytes of a size such as 50G, 1.5T or 800MB, in powers of 1,000; UserError for any other text."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)B?", text.strip(), flags=re.IGNORECASE | re.ASCII)
    size = float(match[1]) * _UNITS[match[2].upper()] if match and len(match[1]) < 20 else 0.0
    if size < 1:
        raise UserError(f"{flag}: found {text!r}, expected a size such as 50G or 1.5T")
    return int(size)


class FeatureCache:
    """A folder with features of several upstreams, which several processes may write at a time; made if missing.

    `limit` is the number of bytes that the folder may hold. Features beyond it take the place of those of the upstream
    whose last use is the longest ago, if no running process uses it; else they are not kept. None: no limit but
    `FREE_BYTES` on the disk. Each process counts the bytes anew when it begins. `drawn` holds the randomly drawn
    waveforms of the present batch, see `random_waveforms`. `flag` names the folder in messages.
    UserError: the folder cannot be written.
    """

    def __init__(self, folder: Path, limit: int | None = None, flag: str = CACHE_FLAG) -> None:
        self.folder = folder.absolute()
        self.flag = flag
        self.limit = limit
        self.drawn: Drawn = frozenset()
        self._full = False
        self._said = False
        self._used: dict[str, int] = {}
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            check_writable(self.folder, flag, folder=True)
            for part in self.folder.rglob(PARTS):  # a file of a killed process, or one that is renamed just now
                with contextlib.suppress(FileNotFoundError):
                    if part.stat().st_mtime < time.time() - _ABANDONED_S:
                        part.unlink()
            if limit is not None:
                self._count(None)
        except OSError as error:
            raise self._not_writable(error) from error

    def use(self, name: str) -> None:
        """Keeps other processes from removing the features of an upstream as long as this process runs.

        Args:
            name: name of the upstream's folder.
        """
        if name in self._used:
            return
        mark = self.folder / name / _IN_USE
        try:
            mark.parent.mkdir(parents=True, exist_ok=True)
            self._used[name] = os.open(mark, os.O_WRONLY | os.O_CREAT, 0o644)  # open until this process ends
            fcntl.flock(self._used[name], fcntl.LOCK_SH)
            os.utime(mark)
        except OSError as error:
            raise self._not_writable(error) from error

    def watched(self, loader: Any) -> Any:
        """A loader of an expert that reports to this cache the waveforms of a batch that are drawn at random."""
        if hasattr(loader, "loader"):  # a wrapper such as soft_labels.WithWaveforms
            loader.loader = self.watched(loader.loader)
            return loader
        return WatchedLoader(loader, functools.partial(setattr, self, "drawn"))

    def load(self, path: Path, key: str, layer: int | None) -> np.ndarray | None:
        """All layers (L, T, D) of an utterance, or one layer (1, T, D); None unless a whole file holds them."""
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as found:
                states: np.ndarray = found[key]
            if states.ndim != 3 or states.dtype.kind != "f":
                return None
            return states if layer is None or len(states) == 1 else states[range(len(states))[layer]][None]
        except _UNREADABLE:
            return None

    def keep(self, path: Path, states: np.ndarray, key: str, samples: int) -> None:
        """Writes the layers (L, T, D) of an utterance as a whole file; writes nothing if no room is left."""
        if self._full or not np.isfinite(states).all() or not self._reserve(states.nbytes):
            return
        if not self._said:
            self._said = True
            hour = in_words(round(states.nbytes * 3600 * SAMPLE_RATE / samples))
            logger.info("%s: keeps features, %s an hour of speech", self.folder, hour)
        with replacing(path) as temporary, temporary.open("wb") as file:
            np.savez(file, **{key: states})  # type: ignore[arg-type]

    def _reserve(self, size: int) -> bool:
        free = shutil.disk_usage(self.folder).free - size
        if free < FREE_BYTES:
            reason = f"{in_words(max(0, free))} are left on its disk"
        elif self.limit is None or self._fits(size, self.limit):
            return True
        else:
            reason = f"its limit is {in_words(self.limit)}"
        logger.warning("%s: %s, since %s; new ones are computed each time", self.folder, NO_ROOM, reason)
        self._full = True
        return False

    def _fits(self, size: int, limit: int) -> bool:
        """Adds `size` to the bytes of the folder, if they stay within the limit or can be brought within it."""
        while self._count(size) > limit:
            self._count(-size)
            if not self._remove_oldest():
                return False
        return True

    def _remove_oldest(self) -> bool:
        """Removes the features of one upstream that no process uses; False if there is none.

        Files that are being written stay, and a process that misses a file computes its features again.
        """
        for mark in sorted(self.folder.glob(f"*/{_IN_USE}"), key=lambda path: path.stat().st_mtime):
            features = list(mark.parent.rglob("*.npz"))
            with mark.open("a", encoding="ascii") as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    continue
                freed = sum(_removed_bytes(path) for path in features)
                if freed:
                    self._count(-freed)
                    what = f"{mark.parent.name} ({in_words(freed)}), which no run uses"
                    logger.info("%s: %s %s, to keep within %s", self.folder, REMOVED, what, in_words(self.limit or 0))
                    return True
        return False

    def has_room(self) -> bool:
        """Whether anything more can be kept within the limit, after the removal of what no process uses if need be."""
        if self.limit is None:
            return True
        fits = self._fits(1, self.limit)
        if fits:
            self._count(-1)
        return fits

    def _not_writable(self, error: OSError) -> UserError:
        reason = error.strerror or error
        return UserError(f"{self.flag} {self.folder}: cannot be written ({reason}); name another folder")

    def _count(self, added: int | None) -> int:
        """Adds to the bytes that all processes have kept and returns their sum; None counts the files anew."""
        with (self.folder / _COUNT).open("a+", encoding="ascii") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.seek(0)
            text = file.read(20)
            total = kept_bytes(self.folder) if added is None or not text.isdecimal() else int(text) + added
            file.truncate(0)
            file.write(str(max(0, total)))
        return total


def _removed_bytes(path: Path) -> int:
    """Removes a file, and returns its bytes; 0 for a file that is not there."""
    try:
        size = path.stat().st_size
        path.unlink()
    except OSError:
        return 0
    return size


def free_bytes(folder: Path) -> int:
    """Free bytes of the disk on which a folder is or will be."""
    path = folder.absolute()
    return shutil.disk_usage(next(there for there in (path, *path.parents) if there.exists())).free


def kept_bytes(folder: Path) -> int:
    """Bytes of all files in a folder; 0 if the folder is missing."""
    total = 0
    for root, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):  # another process has renamed the file
                total += os.lstat(os.path.join(root, name)).st_size
    return total


def in_words(size: int) -> str:
    """A number of bytes with its unit, to three digits."""
    unit = next(unit for unit in ("T", "G", "M", "K", "") if size >= _UNITS[unit] or not unit)
    return f"{size / _UNITS[unit]:.3g} {unit}B"

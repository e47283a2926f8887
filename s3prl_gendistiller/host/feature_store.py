"""Features on disk: one file an utterance, whole or not read at all, within a number of bytes.

A file is NumPy's .npz, one member a layer, whose checksums are compared whenever one is read; nothing is unpickled.
"""

from __future__ import annotations

import contextlib
import fcntl
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
from s3prl_gendistiller.distill.manifest import replacing
from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.host.random_waveforms import Drawn, WatchedLoader
from s3prl_gendistiller.outputs import check_writable

CACHE_FLAG, LIMIT_FLAG = "--cache-features", "--cache-limit"
FREE_BYTES = 10**9
"""What stays free on the disk, so that checkpoints still find room."""
_COUNT = ".kept_bytes"
_ABANDONED_S = 3600
_UNREADABLE = (
    *(OSError, ValueError, EOFError, KeyError, TypeError, MemoryError, RuntimeError),
    *(zipfile.BadZipFile, zlib.error),
)
_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}

logger = logging.getLogger(__name__)


def read_size(text: str) -> int:
    """Bytes of a size such as 50G, 1.5T or 800MB; powers of 1,000.

    Raises:
        UserError: it is none, or less than a byte.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)B?", text.strip(), flags=re.IGNORECASE | re.ASCII)
    size = float(match[1]) * _UNITS[match[2].upper()] if match and len(match[1]) < 20 else 0.0
    if size < 1:
        raise UserError(f"{LIMIT_FLAG}: found {text!r}, expected a size such as 50G or 1.5T")
    return int(size)


class FeatureCache:
    """A folder of features of any number of upstreams, written by any number of processes at a time.

    Args:
        folder: is made.
        limit: bytes that it may hold; what comes later is computed each time. None for as long as `FREE_BYTES` stay
            free on its disk. The bytes are counted anew whenever a process begins.

    Attributes:
        drawn: of the batch that is on its way, see `drawn`.

    Raises:
        UserError: it cannot be written.
    """

    def __init__(self, folder: Path, limit: int | None = None) -> None:
        self.folder = folder.absolute()
        self.limit = limit
        self.drawn: Drawn = frozenset()
        self._full = False
        self._said = False
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            check_writable(self.folder, CACHE_FLAG, folder=True)
            for part in self.folder.rglob(".*.part-*"):  # of a process that was killed
                if part.stat().st_mtime < time.time() - _ABANDONED_S:
                    part.unlink()
            if limit is not None:
                self._count(None)
        except OSError as error:
            reason = error.strerror or error
            raise UserError(f"{CACHE_FLAG} {folder}: cannot be written ({reason}); name another folder") from error

    def watched(self, loader: Any) -> Any:
        """A loader of an expert that tells this cache what in its batches is drawn at random."""
        if hasattr(loader, "loader"):  # one around s3prl's, such as soft_labels.WithWaveforms
            loader.loader = self.watched(loader.loader)
            return loader
        return WatchedLoader(loader, self._tell)

    def load(self, path: Path, key: str, layer: int | None) -> np.ndarray | None:
        """One utterance's layers (L, T, D), or the one that is read (1, T, D); None unless a whole file holds them."""
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as found:
                count, frames, width = (int(size) for size in found["shape"])
                chosen = range(count) if layer is None or count == 1 else [range(count)[layer]]
                states = np.stack([found[str(number)] for number in chosen])
                same = str(found["key"]) == key and states.shape[1:] == (frames, width)
                return states if same and states.dtype.kind == "f" else None
        except _UNREADABLE:
            return None

    def keep(self, path: Path, states: np.ndarray, key: str, samples: int) -> None:
        """Writes one utterance's layers (L, T, D), whole or not at all; nothing where there is no more room.

        Raises:
            UserError: the disk is full, or the folder is gone.
        """
        if self._full or not np.isfinite(states).all() or not self._reserve(states.nbytes):
            return
        if not self._said:
            self._said = True
            hour = in_words(round(states.nbytes * 3600 * SAMPLE_RATE / samples))
            logger.info("%s: keeps features, %s an hour of speech", self.folder, hour)
        layers = {str(number): layer for number, layer in enumerate(states)}
        with replacing(path) as temporary, temporary.open("wb") as file:
            np.savez(file, key=np.array(key), shape=np.array(states.shape), **layers)

    def _tell(self, drawn: Drawn) -> None:
        self.drawn = drawn

    def _reserve(self, size: int) -> bool:
        free = shutil.disk_usage(self.folder).free - size
        if free < FREE_BYTES:
            reason = f"{in_words(max(0, free))} are left on its disk"
        elif self.limit is not None and self._count(size) > self.limit:
            self._count(-size)
            reason = f"its limit is {in_words(self.limit)}"
        else:
            return True
        logger.warning("%s: keeps no more features, since %s; others are computed each time", self.folder, reason)
        self._full = True
        return False

    def _count(self, added: int | None) -> int:
        """The bytes that all processes have kept, which are counted where there is a limit; None counts them anew."""
        with (self.folder / _COUNT).open("a+", encoding="ascii") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.seek(0)
            text = file.read(20)
            total = kept_bytes(self.folder) if added is None or not text.isdecimal() else int(text) + added
            file.truncate(0)
            file.write(str(max(0, total)))
        return total


def kept_bytes(folder: Path) -> int:
    """Of all files in a folder; 0 if it is not there."""
    total = 0
    for root, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):  # another process has put it in its place
                total += os.lstat(os.path.join(root, name)).st_size
    return total


def in_words(size: int) -> str:
    """Bytes with their unit, to three digits."""
    unit = next(unit for unit in ("T", "G", "M", "K", "") if size >= _UNITS[unit] or not unit)
    return f"{size / _UNITS[unit]:.3g} {unit}B"

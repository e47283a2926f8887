"""How the C library hands memory out, on CPUs where a forward pass would otherwise spend a third of its time on it; and
how much of it a process has had, and the machine still has."""

from __future__ import annotations

import ctypes
import os
import sys

# Parameters of mallopt(3).
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4
_KEPT_BYTES = 2**31 - 1
_STEP_BYTES = 2**28


def keep_freed_memory() -> bool:
    """Lets glibc keep what torch frees, up to 2 GiB, instead of giving it back and asking for it again page by page.

    Activations of a CNN are tens of megabytes each: glibc maps each of them anew, and the kernel clears every page. On
    two cores without a GPU that was 30 % of the CPU time of a HuBERT's forward pass.

    Returns:
        Whether there is a glibc to be told.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:  # another C library
        return False
    settings = ((_MMAP_MAX, 0), (_TRIM_THRESHOLD, _KEPT_BYTES), (_TOP_PAD, _STEP_BYTES))
    return all(mallopt(parameter, value) == 1 for parameter, value in settings)


def peak_resident_gib() -> float:
    """The most memory that this process has held so far, in GiB (Linux)."""
    return _kib_of("VmHWM", "/proc/self/status") / 2**20


def available_gib() -> float:
    """What the machine can still give, in GiB; where Linux does not say, what is free."""
    try:
        return _kib_of("MemAvailable", "/proc/meminfo") / 2**20
    except OSError:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30


def _kib_of(name: str, file: str) -> int:
    with open(file, encoding="ascii") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith(name))

"""How the C library hands memory out, on CPUs where a forward pass would otherwise spend a third of its time on it; and
how much a process has had."""

from __future__ import annotations

import ctypes
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
    with open("/proc/self/status", encoding="ascii") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmHWM")) / 2**20

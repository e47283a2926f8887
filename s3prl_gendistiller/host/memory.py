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

# What oneDNN compiles for one shape of one operation is a primitive: a student's training step takes 79, a teacher's
# forward pass 31.
_KEPT_PRIMITIVES = 128


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


def keep_few_primitives() -> None:
    """Lets oneDNN keep the primitives of one training step, 128 instead of 1024, unless the environment says how many.

    oneDNN reads the number at the first operation of a process. Each new length of audio needs new primitives. A
    primitive is small, but the next activations go around it: those of 1024 primitives scattered over the heap left
    holes that no activation of another length fitted, gigabytes in all.
    """
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", str(_KEPT_PRIMITIVES))


def resident_gib() -> float:
    """The memory that this process holds now, in GiB (Linux)."""
    return _kib_of("VmRSS", "/proc/self/status") / 2**20


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

"""Memory on CPUs: settings of the C library and oneDNN, memory of this process, and free memory of the machine."""

from __future__ import annotations

import ctypes
import os
import sys

# Parameters of mallopt(3).
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4
_KEPT_BYTES = 2**31 - 1
_STEP_BYTES = 2**28

# oneDNN compiles each operation once for each shape of its input; the result is called a primitive. A training step of
# a GenDistiller on a six-layer teacher takes 126. More primitives would serve runs that return to a few shapes (0.3 ms
# for each compilation that is saved), and hold gigabytes in runs whose batches have ever new lengths.
_KEPT_PRIMITIVES = 128


def keep_freed_memory() -> bool:
    """Lets glibc keep up to 2 GiB of freed memory for the process; returns whether glibc took the settings.

    Activations of a CNN are tens of megabytes each. By default glibc maps each of them anew, and the kernel clears
    every page: 30 % of the CPU time of a HuBERT's forward pass on two cores without a GPU.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:  # another C library
        return False
    settings = ((_MMAP_MAX, 0), (_TRIM_THRESHOLD, _KEPT_BYTES), (_TOP_PAD, _STEP_BYTES))
    return all(mallopt(parameter, value) == 1 for parameter, value in settings)


def keep_few_primitives() -> None:
    """Lets oneDNN keep 128 primitives instead of 1024, unless ONEDNN_PRIMITIVE_CACHE_CAPACITY is set.

    oneDNN reads the number at the first operation of a process. Each new length of audio needs new primitives. A
    primitive is small, but it stays on the heap between activations: 1024 of them, scattered over the heap, left gaps
    of gigabytes that no activation of another length fitted.
    """
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", str(_KEPT_PRIMITIVES))


def resident_gib() -> float:
    """Memory that this process holds now, in GiB (Linux)."""
    return _kib_of("VmRSS", "/proc/self/status") / 2**20


def peak_resident_gib() -> float:
    """The most memory that this process has held so far, in GiB (Linux)."""
    return _kib_of("VmHWM", "/proc/self/status") / 2**20


def available_gib() -> float:
    """Memory that the machine can still give, in GiB; free memory where /proc/meminfo is absent."""
    try:
        return _kib_of("MemAvailable", "/proc/meminfo") / 2**20
    except OSError:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30


def _kib_of(name: str, file: str) -> int:
    with open(file, encoding="ascii") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith(name))

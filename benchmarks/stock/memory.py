"""Peak memory of a part of this process, and the two ways in which glibc treats freed memory."""

from __future__ import annotations

import ctypes
import gc
import sys
from typing import Any

import torch

from s3prl_gendistiller.host import memory

# Parameters of mallopt(3), with the values to which glibc's own adjustment grows in a process with large tensors.
_DEFAULTS = {-3: 2**25, -1: 2**26, -2: 2**17, -4: 2**16}  # MMAP_THRESHOLD, TRIM_THRESHOLD, TOP_PAD, MMAP_MAX


def _glibc() -> Any:
    """The C library if it is glibc, else None."""
    library = ctypes.CDLL(None) if sys.platform.startswith("linux") else None
    return library if hasattr(library, "malloc_trim") else None


def can_switch() -> bool:
    """Whether `keep_freed` has an effect."""
    return _glibc() is not None


def keep_freed(kept: bool) -> None:
    """Lets glibc keep freed memory, as our commands do, or give it back, as glibc does in s3prl's script."""
    if kept:
        memory.keep_freed_memory()
    elif (library := _glibc()) is not None:
        for parameter, value in _DEFAULTS.items():
            library.mallopt(parameter, value)
        library.malloc_trim(0)


class Peak:
    """The most memory that a device, or this process on a CPU, holds from here on, above what it holds now."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.known = True
        gc.collect()
        if device.type == "cuda":
            torch.cuda.init()  # there are no statistics before
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(device)
            self._before = float(torch.cuda.memory_allocated(device))
            return
        if (library := _glibc()) is not None:
            library.malloc_trim(0)
        try:
            self._before = memory.resident_gib() * 2**30
            with open("/proc/self/clear_refs", "w", encoding="ascii") as resets:
                resets.write("5")  # the highest size so far: proc(5)
        except OSError:  # no Linux, or a container without that file
            self.known = False

    def gib(self) -> float | None:
        """The peak so far in GiB; None where it is not known."""
        if not self.known:
            return None
        if self.device.type == "cuda":
            return (torch.cuda.max_memory_allocated(self.device) - self._before) / 2**30
        return memory.peak_resident_gib() - self._before / 2**30

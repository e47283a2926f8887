"""Facts of the machine on which the kit runs, without importing torch."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
import threading

PAUSE = 0.3  # seconds between two readings of the memory
PACKAGES = ("torch", "torchaudio", "transformers", "numpy", "triton", "s3prl", "soundfile")


def asked_of_gpu(fields: str) -> list[str]:
    """The lines of nvidia-smi for a query; empty where there is none."""
    command = ["nvidia-smi", f"--query-gpu={fields}", "--format=csv,noheader,nounits"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return found.stdout.strip().splitlines() if found.returncode == 0 else []


def facts(device: str) -> dict[str, str]:
    found = {"device": device, "python": platform.python_version(), "cores": str(os.cpu_count())}
    found["load before"] = " ".join(f"{value:.2f}" for value in os.getloadavg())
    if gpus := asked_of_gpu("name,driver_version,memory.total,clocks.sm,clocks.mem"):
        found["GPU (name, driver, MiB, MHz)"] = gpus[0]
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


class MemoryWatch:
    """The highest memory in MiB that is in use on the GPU while the watch is on, of all processes together.

    0 on a machine without a GPU.
    """

    def __init__(self) -> None:
        self.highest = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._read, daemon=True)

    def __enter__(self) -> MemoryWatch:
        self._thread.start()
        return self

    def _read(self) -> None:
        while lines := asked_of_gpu("memory.used"):
            if lines[0].strip().isdigit():
                self.highest = max(self.highest, int(lines[0]))
            if self._over.wait(PAUSE):
                return

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

"""Facts of the machine on which the kit runs, without importing torch."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
import threading

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

    def __enter__(self) -> MemoryWatch:
        command = ["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits", "-lms", "300"]
        try:
            self._process: subprocess.Popen[str] | None = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
            )
        except OSError:
            self._process = None
            return self
        threading.Thread(target=self._read, daemon=True).start()
        return self

    def _read(self) -> None:
        assert self._process is not None and self._process.stdout is not None
        for line in self._process.stdout:
            if line.strip().isdigit():
                self.highest = max(self.highest, int(line))

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

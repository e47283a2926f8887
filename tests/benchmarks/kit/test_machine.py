"""Facts of the machine, and the highest of the readings of the GPU's memory."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from kit import machine


def test_the_highest_memory_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    readings, enough = iter(["900", "4100", "[N/A]", "1200"]), threading.Event()

    def asked(fields: str) -> list[str]:
        value = next(readings, "")
        if not value:
            enough.set()
        return [value] if value else []

    monkeypatch.setattr(machine, "asked_of_gpu", asked)
    monkeypatch.setattr(machine, "PAUSE", 0.0)
    with machine.MemoryWatch() as watch:
        assert enough.wait(10)
    assert watch.highest == 4100


def test_a_machine_without_nvidia_smi_has_no_memory_and_no_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with machine.MemoryWatch() as watch:
        pass
    found = machine.facts("cpu")
    assert watch.highest == 0 and found["device"] == "cpu" and not any(name.startswith("GPU") for name in found)
    assert found["torch"] != "not installed"

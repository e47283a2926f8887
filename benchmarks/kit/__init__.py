"""The parts of benchmarks/gpu.py."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
READY = "ready"  # a file that `prepare` writes last
PREPARE_LOG = "prepare.log"

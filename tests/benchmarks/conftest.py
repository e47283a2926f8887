"""What an old torch leaves out here."""

from __future__ import annotations

from tests.onnx_folders import OLD_TORCH

collect_ignore_glob = ["test_inference*"] if OLD_TORCH else []  # its rows are ONNX graphs, too

"""Tiny configurations in place of the shipped ones at paper scale."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from stock import training
from tests.benchmarks.stock.test_distiller import CONV
from tests.conftest import TINY


def ship_tiny_configs(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Puts tiny configurations of both students into `folder`, where `stock.training.paper_config` finds them."""
    for kind in ("gendistiller", "distilhubert"):
        content = {"teacher": {"folder": "x"}, "student": {**TINY, "extractor_conv_feature_layers": CONV}}
        content["distill"] = {"target_layers": [1, 2, 3]}
        path = folder / "shipped" / kind / "config_model.yaml"
        path.parent.mkdir(parents=True)
        path.write_text(yaml.safe_dump(content))
    monkeypatch.setattr(training, "shipped_folder", lambda name: folder / "shipped")

"""The expert of run_pretrain.py on the tiny bench, without s3prl's Runner."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from s3prl_gendistiller.host.pretrain_expert import PretrainExpert, task_expert
from s3prl_gendistiller.schema import read_layered_yaml
from tests.bench import Bench


@pytest.fixture
def make(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SUPERB_DATA", str(bench.data))

    def prepared(
        task: str = "gendistiller", datarc: dict | None = None, **sections: object
    ) -> Callable[[], PretrainExpert]:
        """Builds the expert from files that are written before, as several processes need it."""
        runner = read_layered_yaml(bench.runner(tmp_path, task, datarc))
        model = bench.model(tmp_path, task, **sections)

        def build() -> PretrainExpert:
            torch.manual_seed(0)
            return task_expert(task)(runner["pretrain_expert"]["datarc"], str(model), "cpu", False)

        return build

    def build(task: str = "gendistiller", datarc: dict | None = None, **sections: object) -> PretrainExpert:
        return prepared(task, datarc, **sections)()

    build.prepared = prepared  # type: ignore[attr-defined]
    return build

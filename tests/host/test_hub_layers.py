"""Layers of s3prl's own teachers that no target needs."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from hubert.random_teacher import write_random_teacher
from s3prl_gendistiller.host.hub_teacher import load_hub_teacher
from tests.bench import TINY_TEACHER
from tests.fairseq import host_checkpoint


@pytest.mark.parametrize("norm_first", [False, True])
@pytest.mark.parametrize("kind", ["hubert", "wavlm"])
def test_layers_above_the_highest_target_do_not_run(
    kind: str, norm_first: bool, tmp_path: Path, wavs: tuple[Tensor, Tensor]
) -> None:
    folder = write_random_teacher(tmp_path / "t", model_type=kind, stable_layer_norm=norm_first, **TINY_TEACHER)
    teacher = load_hub_teacher(f"{kind}_local", str(host_checkpoint(folder, tmp_path / "t.pt")))
    ran: list[int] = []
    for index, layer in enumerate(teacher.encoder.model.encoder.layers):
        layer.register_forward_hook(lambda *_, index=index: ran.append(index))
    everything = teacher(*wavs, [0, 1, 2, 3])
    assert ran == [0, 1, 2]
    ran.clear()
    assert torch.equal(teacher(*wavs, [0, 1]), everything[:, :2])
    assert ran == [0] + [1] * norm_first
    assert torch.equal(teacher(*wavs, [3]), everything[:, 3:])

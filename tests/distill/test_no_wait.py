"""No step of a training waits for the device.

Tensors on the device `meta` have shapes and no values. Everything that would make a GPU wait, such as `item`, `tolist`,
`nonzero` and copies to the CPU, raises an error on them. Lengths are on the CPU, as the loaders give them.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from s3prl_gendistiller.distill.objectives import Setting, build_objectives
from s3prl_gendistiller.distill.objectives.layerwise import build_front_end
from s3prl_gendistiller.distill.task import DistillTask
from s3prl_gendistiller.host.students import build_student
from s3prl_gendistiller.student_kinds import read_model_config
from tests.bench import Bench

LENGTHS = torch.tensor([9_000, 8_000, 5_000])
MEL = {"student": {"front_end": "mel", "mel_channels": 16}, "warm_start": {"front_end": False}}
THIN = {"student": {"front_end": "thin", "thin_channels": [8] * 7}, "warm_start": {"front_end": False}}
TASKS: list[tuple[str, dict[str, Any]]] = [
    ("gendistiller", {}),
    ("gendistiller", MEL),
    ("gendistiller", THIN),
    ("gendistiller", {"student": {"history": "all"}}),
    ("gendistiller", {"student": {"position_bias": "gated", "normalize": True}}),
    ("gendistiller", {"distill": {"random_depth": True}}),
    ("gendistiller", {"student": {"encoder_embed_dim": 16}}),
    (
        "gendistiller",
        {"objectives": [{"name": "layerwise"}, {"name": "ckd", "window": 2}], "distill": {"target_layers": [1, 2, 3]}},
    ),
    ("distilhubert", {}),
    ("distilhubert", MEL),
    ("distilhubert", {"student": {"extractor_mode": "layer_norm"}, "warm_start": {"front_end": False}}),
]


@pytest.fixture
def on_meta(monkeypatch: pytest.MonkeyPatch) -> None:
    """`torch.autocast` does not know the device."""
    stock = torch.autocast

    def autocast(device: str, *args: Any, **options: Any) -> Any:
        return contextlib.nullcontext() if device == "meta" else stock(device, *args, **options)

    monkeypatch.setattr(torch, "autocast", autocast)


class Layers(nn.Module):
    """A teacher of values that do not matter."""

    name, num_layers, width = "layers", 3, 24

    def forward(self, wavs: Tensor, lengths: Tensor, layers: list[int]) -> Tensor:
        return wavs.new_zeros(len(wavs), len(layers), (wavs.shape[1] - 400) // 320 + 1, self.width)


@pytest.mark.parametrize("front_end_only", [False, True], ids=["", "front_end_only"])
@pytest.mark.parametrize(("kind", "changes"), TASKS)
def test_no_step_waits_for_the_device(
    kind: str, changes: dict[str, Any], front_end_only: bool, bench: Bench, tmp_path: Path, on_meta: None
) -> None:
    config = read_model_config(kind, bench.model(tmp_path, kind, **changes))
    student, teacher, layers = build_student(config), Layers(), config.distill.target_layers
    setting = Setting(layers, config.student.encoder_embed_dim, teacher)
    objectives, front_end = build_objectives(config.objectives, setting), build_front_end(setting)
    options = {"random_depth": config.distill.random_depth, "front_end": front_end}
    task = DistillTask(student, teacher, objectives, layers, **options).to("meta").train()
    wavs = torch.zeros(3, int(LENGTHS.max()), device="meta")
    probability = 0.5 if kind == "gendistiller" and config.student.encoder_embed_dim == teacher.width else 0.0
    sums = task(wavs, LENGTHS, probability, front_end_only)
    task.loss(sums).backward()
    assert sums.is_meta and all(parameter.grad is None or parameter.grad.is_meta for parameter in task.parameters())


def test_a_wait_is_noticed(on_meta: None) -> None:
    for waits in (Tensor.item, Tensor.tolist, bool, Tensor.nonzero, Tensor.cpu):
        with pytest.raises((RuntimeError, NotImplementedError)):
            waits(torch.zeros((), device="meta"))

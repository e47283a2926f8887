"""No step of a training waits for the device.

Tensors on the device `meta` have shapes and no values. What needs a value on the CPU, such as `item`, `tolist`,
`nonzero` and copies to the CPU, raises an error on them. A copy from the CPU makes a GPU wait as well, unless it is
`non_blocking`; `Copies` raises an error for it. Lengths are on the CPU, as the loaders give them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from hubert.random_teacher import write_random_teacher
from s3prl_gendistiller.distill.objectives import Setting, build_objectives
from s3prl_gendistiller.distill.objectives.layerwise import build_front_end
from s3prl_gendistiller.distill.shared_front_end import share_front_end
from s3prl_gendistiller.distill.task import DistillTask
from s3prl_gendistiller.distill.transformers_teacher import load_transformers_teacher
from s3prl_gendistiller.host.students import build_student
from s3prl_gendistiller.student_kinds import read_model_config
from tests.bench import TINY_TEACHER, Bench

LENGTHS = torch.tensor([9_000, 8_000, 5_000])
MEL = {"student": {"front_end": "mel", "mel_channels": 16}, "warm_start": {"front_end": False}}
SHARED = {"student": {"feature_grad_mult": 0.0}, "distill": {"share_front_end": True}}
THIN = {"student": {"front_end": "thin", "thin_channels": [8] * 7}, "warm_start": {"front_end": False}}
TASKS: list[tuple[str, dict[str, Any]]] = [
    ("gendistiller", {}),
    ("gendistiller", MEL),
    ("gendistiller", THIN),
    ("gendistiller", {"student": {"history": "all"}}),
    ("gendistiller", {"student": {"position_bias": "gated", "normalize": True}}),
    ("gendistiller", {"distill": {"random_depth": True}}),
    ("gendistiller", {"distill": {"feedback": "scheduled"}}),
    ("gendistiller", {"student": {"output_form": "mlp", "exposed_layer": "hidden"}}),
    ("gendistiller", {"student": {"predicted_from": "both", "exposed_layer": "hidden"}}),
    ("gendistiller", {"student": {"encoder_embed_dim": 16}}),
    (
        "gendistiller",
        {"objectives": [{"name": "layerwise"}, {"name": "ckd", "window": 2}], "distill": {"target_layers": [1, 2, 3]}},
    ),
    ("gendistiller", SHARED),
    ("distilhubert", {}),
    ("distilhubert", SHARED),
    ("distilhubert", MEL),
    ("distilhubert", {"student": {"extractor_mode": "layer_norm"}, "warm_start": {"front_end": False}}),
]


class Copies(TorchDispatchMode):
    """Raises an error where torch would copy from the CPU to the device at once, and wait."""

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        aten, options = torch.ops.aten, kwargs or {}
        if function is aten._to_copy.default:
            waits = args[0].is_cpu and options.get("device", args[0].device).type == "meta"
            waits = waits and not options.get("non_blocking")
        elif function is aten.copy_.default:
            waits = args[0].is_meta and args[1].is_cpu and not (*args, options.get("non_blocking"))[2]
        elif function in (aten.index.Tensor, aten.index_put_.default, aten.index_put.default):
            places = [place for place in args[1] if place is not None]
            filled = all(place.dtype == torch.bool for place in places)  # torch takes a masked fill for these
            waits = args[0].is_meta and any(value.is_cpu for value in (*places, *(() if filled else args[2:3])))
        else:
            waits = False
        if waits:
            raise RuntimeError(f"{function} copies from the CPU")
        return function(*args, **options)


@pytest.fixture
def on_meta(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """`torch.autocast` does not know the device, and `Copies` does not see the copies that `torch.tensor` makes."""
    stock, stock_tensor = torch.autocast, torch.tensor

    def autocast(device: str, *args: Any, **options: Any) -> Any:
        return contextlib.nullcontext() if device == "meta" else stock(device, *args, **options)

    def tensor(*args: Any, device: Any = "cpu", **options: Any) -> Tensor:
        if torch.device(device).type == "meta":
            raise RuntimeError("torch.tensor copies from the CPU")
        return stock_tensor(*args, **options)

    monkeypatch.setattr(torch, "autocast", autocast)
    monkeypatch.setattr(torch, "tensor", tensor)
    yield


@pytest.mark.parametrize("front_end_only", [False, True], ids=["", "front_end_only"])
@pytest.mark.parametrize(("kind", "changes"), TASKS)
def test_no_step_waits_for_the_device(
    kind: str, changes: dict[str, Any], front_end_only: bool, bench: Bench, tmp_path: Path, on_meta: None
) -> None:
    step(read_model_config(kind, bench.model(tmp_path, kind, **changes)), bench.teacher, front_end_only)


@pytest.mark.parametrize("kind", ["gendistiller", "distilhubert"])
@pytest.mark.parametrize("stable", [False, True], ids=["post-norm", "pre-norm"])
@pytest.mark.parametrize("model_type", ["hubert", "wavlm", "wav2vec2"])
def test_no_teacher_waits_for_the_device(
    model_type: str, stable: bool, kind: str, bench: Bench, tmp_path: Path, on_meta: None
) -> None:
    folder = write_random_teacher(
        tmp_path / "t", model_type=model_type, stable_layer_norm=stable, feat_extract_norm="layer", **TINY_TEACHER
    )
    step(read_model_config(kind, bench.model(tmp_path, kind)), folder)


def step(config: Any, folder: Path, front_end_only: bool = False) -> None:
    """One step of training with a teacher of transformers, forward and backward."""
    task = new_task(config, folder).to("meta")
    wavs = torch.zeros(3, int(LENGTHS.max()), device="meta")
    feeds_back = hasattr(config.distill, "feedback") and config.student.encoder_embed_dim == task.teacher.width
    with Copies():
        sums = task(wavs, LENGTHS, 0.5 if feeds_back else 0.0, front_end_only)
        task.loss(sums).backward()
    assert sums.is_meta and all(parameter.grad is None or parameter.grad.is_meta for parameter in task.parameters())


def new_task(config: Any, folder: Path) -> DistillTask:
    """The task of a configuration in training mode, with a teacher of transformers."""
    student, teacher = build_student(config), load_transformers_teacher(folder)
    if student.ignores_padding:
        teacher.ignore_padding()
    distill = config.distill
    if distill.share_front_end:
        share_front_end(student, teacher)
    setting = Setting(distill.target_layers, config.student.encoder_embed_dim, teacher)
    objectives, front_end = build_objectives(config.objectives, setting), build_front_end(setting)
    options = {name: getattr(distill, name) for name in ("random_depth", "share_front_end")}
    return DistillTask(student, teacher, objectives, distill.target_layers, front_end=front_end, **options).train()


def test_a_wait_is_noticed(on_meta: None) -> None:
    for waits in (Tensor.item, Tensor.tolist, bool, Tensor.nonzero, Tensor.cpu):
        with pytest.raises((RuntimeError, NotImplementedError)):
            waits(torch.zeros((), device="meta"))
    numbers = torch.zeros(3, 3, device="meta")
    copies: list[Callable[[], object]] = [
        lambda: torch.tensor([1, 2], device="meta"),
        lambda: torch.ones(2).to("meta"),
        lambda: numbers.copy_(torch.ones(3, 3)),
        lambda: numbers[:, torch.tensor([0, 2])],
        lambda: numbers.__setitem__(torch.zeros(1, dtype=torch.int64, device="meta"), torch.ones(())),
    ]
    for copy in copies:
        with Copies(), pytest.raises(RuntimeError, match="from the CPU"):
            copy()
    with Copies():
        torch.ones(2).to("meta", non_blocking=True)
        numbers[numbers > 0] = 1.0

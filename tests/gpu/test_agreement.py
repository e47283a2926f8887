"""A GPU computes what a CPU computes: students, front ends, teachers, objectives, losses and gradients."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from hubert.random_teacher import write_random_teacher
from s3prl_gendistiller.config_objectives import CkdConfig
from s3prl_gendistiller.distill.objectives.ckd import Ckd
from s3prl_gendistiller.distill.task import DistillTask
from s3prl_gendistiller.distill.transformers_teacher import load_transformers_teacher
from s3prl_gendistiller.student_kinds import read_model_config
from tests.bench import TINY_TEACHER, Bench
from tests.distill.objectives import test_glmd as glmd
from tests.distill.test_no_wait import TASKS, new_task

pytestmark = pytest.mark.gpu
LENGTHS = torch.tensor([9_000, 8_000, 5_000])
STILL = {"dropout": 0.0, "attention_dropout": 0.0, "activation_dropout": 0.0}
CLOSE = 1e-4  # relative, in full float32
# The gradient of an absolute difference has a sign, which changes where the difference is as small as its error.
GRADIENT_CLOSE = 1e-2
LOSS_WITHIN = {torch.bfloat16: 0.03, torch.float16: 0.01}  # relative, of losses in fewer bits
GRADIENT_WITHIN = {torch.bfloat16: 0.3, torch.float16: 0.15}


def noise() -> Tensor:
    """(3, S) as `LENGTHS` says, zero padded."""
    made = 0.1 * torch.randn(3, int(LENGTHS.max()), generator=torch.Generator().manual_seed(0))
    return made * (torch.arange(made.shape[1]) < LENGTHS.unsqueeze(1))


def apart(found: Tensor, expected: Tensor) -> float:
    """The norm of the difference, relative to the norm of what is expected."""
    assert found.isfinite().all()
    return float((found.cpu().double() - expected.double()).norm() / expected.double().norm().clamp(min=1e-30))


def build_task(kind: str, changes: dict[str, Any], bench: Bench, folder: Path) -> DistillTask:
    """A task on the CPU, without dropout."""
    still = STILL if kind == "gendistiller" else {**STILL, "encoder_layerdrop": 0.0}
    sections = {**changes, "student": {**still, **changes.get("student", {})}}
    config = read_model_config(kind, bench.model(folder, kind, **sections))
    torch.manual_seed(0)
    return new_task(config, bench.teacher)


def step(task: DistillTask, device: torch.device, front_end_only: bool = False) -> tuple[Tensor, Tensor]:
    """The loss and all gradients, (parameters,), on the CPU."""
    loss = task.loss(task(noise().to(device), LENGTHS, 0.0, front_end_only))
    loss.backward()
    trained = [value.grad for value in task.parameters() if value.grad is not None]
    return loss.detach().cpu(), torch.cat([gradient.cpu().flatten() for gradient in trained])


@pytest.mark.parametrize("front_end_only", [False, True], ids=["", "front_end_only"])
@pytest.mark.parametrize(("kind", "changes"), TASKS)
def test_a_step_on_a_gpu_is_that_on_a_cpu(
    kind: str,
    changes: dict[str, Any],
    front_end_only: bool,
    bench: Bench,
    tmp_path: Path,
    device: torch.device,
    full_float32: None,
) -> None:
    changes = {name: value for name, value in changes.items() if value != {"random_depth": True}}
    task, moved = (build_task(kind, changes, bench, tmp_path) for _ in range(2))
    moved.to(device)
    loss, gradients = step(task, torch.device("cpu"), front_end_only)
    found, theirs = step(moved, device, front_end_only)
    assert apart(found, loss) < CLOSE
    assert apart(theirs, gradients) < GRADIENT_CLOSE


@pytest.mark.parametrize("kind", ["gendistiller", "distilhubert"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_fewer_bits_are_near_full_float32(
    dtype: torch.dtype, kind: str, bench: Bench, tmp_path: Path, device: torch.device, full_float32: None
) -> None:
    task, moved = (build_task(kind, {}, bench, tmp_path) for _ in range(2))
    moved.to(device)
    moved.dtype = moved.teacher.dtype = dtype
    loss, gradients = step(task, torch.device("cpu"))
    found, theirs = step(moved, device)
    assert found.dtype == torch.float32
    assert apart(found, loss) < LOSS_WITHIN[dtype]
    assert apart(theirs, gradients) < GRADIENT_WITHIN[dtype]


@pytest.mark.parametrize("stable", [False, True], ids=["post-norm", "pre-norm"])
@pytest.mark.parametrize("norm", ["group", "layer"])
@pytest.mark.parametrize("model_type", ["hubert", "wavlm", "wav2vec2"])
def test_a_teacher_on_a_gpu_is_that_on_a_cpu(
    model_type: str, norm: str, stable: bool, tmp_path: Path, device: torch.device, full_float32: None
) -> None:
    options = {"model_type": model_type, "stable_layer_norm": stable, "feat_extract_norm": norm}
    teacher = load_transformers_teacher(write_random_teacher(tmp_path / "t", **options, **TINY_TEACHER))
    layers = [0, 1, 2, 3]
    frames = 15  # of the shortest utterance
    for own_frames in (False, True):
        if own_frames:
            teacher.ignore_padding()
        expected = teacher.to("cpu")(noise(), LENGTHS, layers)[:, :, :frames]
        found = teacher.to(device)(noise().to(device), LENGTHS, layers)[:, :, :frames]
        for layer in layers:
            assert apart(found[:, layer], expected[:, layer]) < CLOSE, layer


@pytest.mark.parametrize("remap", glmd.REMAPS)
def test_units_on_a_gpu_are_those_on_a_cpu(remap: str, device: torch.device, full_float32: None) -> None:
    module = glmd.objective(remap=remap, temperature=2.0)
    compare_terms(module, (glmd.teacher(), glmd.student(), glmd.MASK), device)


def test_relations_on_a_gpu_are_those_on_a_cpu(device: torch.device, full_float32: None) -> None:
    torch.manual_seed(0)
    mask = torch.arange(12) < torch.tensor([[12], [9]])
    module = Ckd(CkdConfig(window=3, dilation=2))
    compare_terms(module, (torch.randn(2, 3, 12, 8), torch.randn(2, 3, 12, 10), mask), device)


def compare_terms(module: nn.Module, given: tuple[Tensor, Tensor, Tensor], device: torch.device) -> None:
    """Terms of an objective, and the gradient of the student's layers, on the CPU and on the device."""

    def of(place: torch.device) -> tuple[Tensor, Tensor]:
        teacher, student, mask = (value.clone().to(place) for value in given)
        student.requires_grad_()
        terms = module.to(place)(teacher, student, mask)
        values = torch.stack([total.double() / count for total, count in terms.values()])
        values.sum().backward()
        assert student.grad is not None
        gradient, student.grad = student.grad.cpu().clone(), None
        return values.detach().cpu(), gradient

    expected, found = of(torch.device("cpu")), of(device)
    for ours, theirs in zip(found, expected, strict=True):
        assert apart(ours, theirs) < CLOSE

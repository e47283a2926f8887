"""`teacher.precision` and `distill.precision`: which parts compute in fewer bits, and what a device lacks."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from s3prl_gendistiller.distill.precision import dtype_of
from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.host.pretrain_expert import PretrainExpert
from tests.host.test_pretrain_expert import train

STEADY = {"dropout": 0.0, "attention_dropout": 0.0, "activation_dropout": 0.0}


def linear_types(module: nn.Module) -> set[torch.dtype]:
    """Types of what the module's linear layers will give."""
    found: set[torch.dtype] = set()
    for part in module.modules():
        if isinstance(part, nn.Linear):
            part.register_forward_hook(lambda module, given, result: found.add(result.dtype))
    return found


def first_loss(expert: PretrainExpert) -> Tensor:
    batch = next(iter(expert.get_train_dataloader()))
    loss, _ = expert(batch, records={}, global_step=1, log_step=1)
    return loss


@pytest.mark.parametrize("task", ["gendistiller", "distilhubert"])
@pytest.mark.parametrize(("teacher", "student"), [("bfloat16", "auto"), ("auto", "bfloat16"), ("bfloat16", "bfloat16")])
def test_teacher_and_student_have_a_precision_of_their_own(make, task: str, teacher: str, student: str) -> None:
    plain = first_loss(make(task, student=STEADY))
    expert = make(task, student=STEADY, teacher={"precision": teacher}, distill={"precision": student})
    types = {"teacher": linear_types(expert.task.teacher), "student": linear_types(expert.model["student"])}
    loss = first_loss(expert)
    loss.backward()
    low = {"auto": {torch.float32}, "bfloat16": {torch.bfloat16}}
    assert types == {"teacher": low[teacher], "student": low[student]}
    assert loss.dtype == torch.float32 and loss != plain and torch.isclose(loss, plain, rtol=0.05)
    assert all(value.dtype == torch.float32 for value in expert.model.parameters())
    losses = train(expert, 20)
    assert sum(losses[-5:]) < sum(losses[:5])


def test_auto_follows_the_runners_half_precision_and_float32_does_not(make) -> None:
    for precision, expected in (("auto", torch.bfloat16), ("float32", torch.float32)):
        expert = make(student=STEADY, distill={"precision": precision})
        types = linear_types(expert.model["student"])
        teacher = linear_types(expert.task.teacher)
        with torch.autocast("cpu", dtype=torch.bfloat16):  # as the Runner does on a GPU with fp16
            first_loss(expert)
        assert types == {expected} and teacher == {torch.float32}


@pytest.mark.parametrize(
    ("precision", "device", "bfloat16", "expected"),
    [
        ("auto", "cpu", True, torch.float32),
        ("auto", "cuda", True, torch.bfloat16),
        ("auto", "cuda:1", False, torch.float32),
        ("float32", "cuda", True, torch.float32),
        ("bfloat16", "cpu", False, torch.bfloat16),
        ("float16", "cuda", True, torch.float16),
        ("float16", "cpu", True, "found float16, which is for GPUs; set it to auto"),
        ("bfloat16", "cuda", False, "found bfloat16, which this GPU lacks; set it to float32"),
    ],
)
def test_what_a_device_gives(
    precision: str, device: str, bfloat16: bool, expected: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: bfloat16)
    if isinstance(expected, torch.dtype):
        assert dtype_of(precision, device, "key") == expected
    else:
        with pytest.raises(UserError, match=f"key: {expected}"):
            dtype_of(precision, device, "key")


def test_float16_needs_the_runners_scaled_loss(make) -> None:
    with pytest.raises(UserError, match="distill.precision: found float16, which is for GPUs"):
        make(distill={"precision": "float16"})
    expert = make()
    expert.task.dtype = torch.float16  # as on a GPU
    with pytest.raises(UserError, match="float16 without config.runner.fp16"):
        first_loss(expert)

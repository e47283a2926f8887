"""No step waits for the GPU, ranks are joined by NCCL, and the pinned batches arrive."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist

from hubert.random_teacher import write_random_teacher
from s3prl_gendistiller.distill import ranks
from s3prl_gendistiller.distill.transformers_teacher import load_transformers_teacher
from s3prl_gendistiller.host.pretrain_expert import PretrainExpert, task_expert
from s3prl_gendistiller.host.rank_task import RankTask
from s3prl_gendistiller.schema import read_layered_yaml
from tests.bench import TINY_TEACHER, Bench
from tests.distill.test_no_wait import TASKS
from tests.gpu.test_agreement import LENGTHS, STILL, apart, build_task, noise

pytestmark = pytest.mark.gpu


@contextlib.contextmanager
def no_wait(device: torch.device) -> Iterator[None]:
    """torch raises an error for each operation for which the CPU would wait."""
    if device.type != "cuda":
        yield
        return
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


def pinned(device: torch.device) -> torch.Tensor:
    return noise().pin_memory() if device.type == "cuda" else noise()


@pytest.mark.parametrize("front_end_only", [False, True], ids=["", "front_end_only"])
@pytest.mark.parametrize(("kind", "changes"), TASKS)
def test_no_step_waits_for_the_gpu(
    kind: str, changes: dict[str, Any], front_end_only: bool, bench: Bench, tmp_path: Path, device: torch.device
) -> None:
    task = build_task(kind, changes, bench, tmp_path).to(device)
    if device.type == "cuda":
        task.dtype = task.teacher.dtype = torch.bfloat16
    batch = pinned(device)

    def step() -> torch.Tensor:
        loss = task.loss(task(batch.to(device, non_blocking=True), LENGTHS, 0.0, front_end_only))
        loss.backward()
        return loss.detach()

    step()  # the first step makes handles and plans
    with no_wait(device):
        loss = step()
    assert loss.isfinite()


@pytest.mark.parametrize("model_type", ["hubert", "wavlm", "wav2vec2"])
@pytest.mark.parametrize("norm", ["group", "layer"])
def test_no_teacher_waits_for_the_gpu(model_type: str, norm: str, tmp_path: Path, device: torch.device) -> None:
    options = {"model_type": model_type, "feat_extract_norm": norm}
    teacher = load_transformers_teacher(write_random_teacher(tmp_path / "t", **options, **TINY_TEACHER)).to(device)
    teacher.ignore_padding()
    batch = pinned(device)
    teacher(batch.to(device), LENGTHS, [1, 3])
    with no_wait(device):
        states = teacher(batch.to(device, non_blocking=True), LENGTHS, [1, 3])
    assert states.isfinite().all()


@pytest.fixture
def make(bench: Bench, tmp_path: Path, device: torch.device, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Builds the pretraining task of run_pretrain.py on the device, as s3prl's Runner does."""
    monkeypatch.setenv("SUPERB_DATA", str(bench.data))

    def build(datarc: dict | None = None, **sections: object) -> PretrainExpert:
        runner = read_layered_yaml(bench.runner(tmp_path, datarc=datarc))
        torch.manual_seed(0)
        data, model = runner["pretrain_expert"]["datarc"], str(bench.model(tmp_path, **sections))
        return task_expert("gendistiller")(data, model, device.type, False).to(device)

    return build


def test_batches_arrive_from_worker_processes(make: Any, device: torch.device) -> None:
    expert = make(datarc={"num_workers": 2}, student=STILL)
    for number, batch in zip(range(3), expert.get_train_dataloader(), strict=False):
        assert device.type != "cuda" or batch.wavs.is_pinned()
        loss, _ = expert(batch, records={}, global_step=number + 1)
        loss.backward()
        assert loss.isfinite() and not batch.lengths.is_cuda


def test_ranks_are_joined_by_nccl(
    make: Any, tmp_path: Path, device: torch.device, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One rank: `DistributedDataParallel` gives the loss and the gradients of the task without it."""
    for backend in ("GLOO", "NCCL"):  # a machine without a network has no other interface
        monkeypatch.setenv(f"{backend}_SOCKET_IFNAME", "lo")
    expert = make(student=STILL, distill={"precision": "float32"}, teacher={"precision": "float32"})
    batch = next(iter(expert.get_train_dataloader()))
    wavs, trained = batch.wavs.to(device), [p for p in expert.model.parameters() if p.requires_grad]

    def step(task: Any) -> tuple[torch.Tensor, torch.Tensor]:
        expert.model.zero_grad()
        loss = expert.task.loss(task(wavs, batch.lengths))
        loss.backward()
        return loss.detach().cpu(), torch.cat([p.grad.cpu().flatten() for p in trained if p.grad is not None])

    alone = step(expert.task)
    store = dist.FileStore(str(tmp_path / "store"), 1)
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    dist.init_process_group(backend, store=store, rank=0, world_size=1)
    try:
        joined = step(RankTask(expert.task, expert.train_loader, 0, varies=False))
        value = torch.ones(2, device=device, requires_grad=True)
        ranks._Total.apply(value).sum().backward()
        assert value.grad is not None and value.grad.tolist() == [1.0, 1.0]
        number = torch.tensor(3)
        dist.all_reduce(number, op=dist.ReduceOp.MAX)  # of a number on the CPU, as `ranks.largest`
        gathered: list[Any] = [None]
        dist.all_gather_object(gathered, {"rank": 0})
        assert int(number) == 3 and gathered == [{"rank": 0}]
    finally:
        dist.destroy_process_group()
    for found, expected in zip(joined, alone, strict=True):
        assert apart(found, expected) < 1e-5

"""`distill.compile` on a GPU: compiled blocks give the loss and gradients of plain ones, and no step waits."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from s3prl_gendistiller.distill.compiling import compile_task
from tests.bench import Bench
from tests.gpu.test_agreement import GRADIENT_CLOSE, LENGTHS, apart, build_task, step
from tests.gpu.test_steps import no_wait, pinned

pytestmark = pytest.mark.gpu


@pytest.fixture
def fresh_compiler() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def test_a_compiled_step_is_a_plain_one(
    bench: Bench, tmp_path: Path, device: torch.device, full_float32: None, fresh_compiler: None
) -> None:
    plain, compiled = (build_task("gendistiller", {}, bench, tmp_path).to(device) for _ in range(2))
    loss, gradients = step(plain, device)
    compile_task(compiled, 1, device)
    found, theirs = step(compiled, device)
    assert apart(found, loss) < 1e-3
    assert apart(theirs, gradients) < GRADIENT_CLOSE
    batch = pinned(device)
    with no_wait(device):
        again = compiled.loss(compiled(batch.to(device, non_blocking=True), LENGTHS))
        again.backward()
    assert apart(again.detach(), loss.cpu()) < 1e-3

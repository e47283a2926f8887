"""The device of these tests, full float32, and runs of run_pretrain.py on the device."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from tests.bench import Bench
from tests.conftest import ROOT

# As far as possible, the same steps give the same bits; kernels without such a form only warn.
STEADY_LAUNCH = (
    "import sys, torch; torch.use_deterministic_algorithms(True, warn_only=True); "
    "from s3prl_gendistiller.cli.pretrain import main; raise SystemExit(main(sys.argv[1:]))"
)
Run = Callable[..., Path]


@pytest.fixture(scope="session")
def device() -> torch.device:
    return torch.device(os.environ.get("GPU_TESTS_ON", "cuda"))


@pytest.fixture
def full_float32() -> Iterator[None]:
    """Products of float32 without TF32, which convolutions on a GPU otherwise take."""
    matmul, convolution = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    yield
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = matmul, convolution


@pytest.fixture(scope="session")
def train(bench: Bench, device: torch.device) -> Run:
    """Runs run_pretrain.py with the flags in a folder; returns result/pretrain of that folder."""

    def run(folder: Path, *flags: str | Path, launcher: tuple[str, ...] = ("-c", STEADY_LAUNCH)) -> Path:
        environment = {**os.environ, **bench.environment, "OMP_NUM_THREADS": "1"}
        environment |= {
            "PYTHONPATH": f"{ROOT}:{os.environ.get('PYTHONPATH', '')}",
            "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
        }
        command = [sys.executable, *launcher, "--device", device.type, *map(str, flags)]
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=200)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
        return folder / "result" / "pretrain"

    return run

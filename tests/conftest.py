"""Speech-shaped noise, tiny networks and the switch that forbids skips in CI."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import torch

from s3prl_gendistiller.config_gendistiller import GenDistillerConfig
from s3prl_gendistiller.host import compat, compat_messages
from tests.superb.cluster.one_node_slurm import is_there as slurm_is_there

compat.apply()  # transformers imports torchaudio, which a CPU-only torch cannot load as it is

pytest_plugins = ["tests.bench", "tests.host.loops", "tests.installed", "tests.onnx_folders"]

ROOT = Path(__file__).resolve().parents[1]
TINY_CONV = ((16, 10, 5), *((16, 3, 2),) * 4, *((16, 2, 2),) * 2)
TINY = {
    "extractor_conv_feature_layers": TINY_CONV,
    "conv_pos": 8,
    "conv_pos_groups": 2,
    "encoder_embed_dim": 24,
    "encoder_ffn_embed_dim": 32,
    "encoder_attention_heads": 2,
}


def tiny_config(**changes: object) -> GenDistillerConfig:
    """A student of a few thousand parameters with HuBERT's frame rate and no coupling over time."""
    return GenDistillerConfig(**{**TINY, "extractor_mode": "layer_norm", **changes})


def run_python(
    *arguments: str | Path, cwd: Path | None = None, env: dict[str, str] | None = None, timeout: int = 300
) -> subprocess.CompletedProcess[str]:
    """This interpreter in a subprocess, with the project importable and two threads at most."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **(env or {})}
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=timeout, check=False
    )


NEEDS = {
    "gpu": lambda: torch.cuda.is_available() or bool(os.environ.get("GPU_TESTS_ON")),  # "cpu" runs their lines there
    "browser": lambda: all(shutil.which(program) for program in ("chromium", "chromedriver")),
    "slurm": slurm_is_there,
}
"""Markers of tests that need a device or programs of the system, each with whether it is there."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves out the tests whose device or programs are missing; they are not skipped, because CI forbids skips.

    The tests of clusters come first: they wait for minutes, and the other worker runs on meanwhile.
    """
    items.sort(key=lambda item: "cluster" not in item.path.parts)
    missing = [marker for marker, is_there in NEEDS.items() if not is_there()]
    left_out = [item for item in items if any(item.get_closest_marker(marker) for marker in missing)]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if not any(item.get_closest_marker(marker) for marker in missing)]


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    """A command run in this process sets our log lines up; the next test may look for them."""
    package = logging.getLogger("s3prl_gendistiller")
    before = (package.handlers[:], package.level, package.propagate)
    yield
    os.environ.pop(compat_messages.VARIABLE, None)
    package.handlers[:], _, package.propagate = before
    package.setLevel(before[1])


@pytest.fixture
def seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture
def wavs() -> tuple[torch.Tensor, torch.Tensor]:
    """Three utterances of different length, zero padded: (3, 8000) and their lengths."""
    generator = torch.Generator().manual_seed(1)
    lengths = torch.tensor([8000, 5000, 3210])
    noise = torch.randn(3, 8000, generator=generator) * 0.1
    return noise * (torch.arange(8000) < lengths.unsqueeze(1)), lengths


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """A skipped host test says nothing about the host: with CI set, any skip fails the run."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    skipped: Sequence[object] = reporter.stats.get("skipped", []) if reporter else []
    if os.environ.get("CI") and skipped:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED

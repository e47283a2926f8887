"""The ten corpora and what s3prl's own loaders make of their test sets, once for all tests of a process."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.conftest import ROOT, run_python
from tests.superb.corpus import write_ten


@pytest.fixture(scope="session")
def ten(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What SUPERB_DATA would name; not to be changed."""
    return write_ten(tmp_path_factory.mktemp("ten"))


@pytest.fixture(scope="session")
def host_ids(ten: Path) -> dict[str, list[str]]:
    """Flag of s3prl's submit.py -> ids in the order of s3prl's loader."""
    answer = run_python("-m", "tests.superb.loaders", ten, cwd=ROOT)
    assert answer.returncode == 0, answer.stderr[-3000:]
    found: dict[str, list[str]] = json.loads(answer.stdout)
    return found

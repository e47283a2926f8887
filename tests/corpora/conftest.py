"""One tiny corpus of every kind, spoken once for all tests of a process, which only read it."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from s3prl_gendistiller.corpora.catalogue import write_corpora


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What SUPERB_DATA would name."""
    out = tmp_path_factory.mktemp("tiny")
    write_corpora(out, size="tiny", workers=1, progress=False)
    return out


def digests(root: Path) -> dict[str, str]:
    """Every file below `root` -> a hash of its content."""
    files = (path for path in root.rglob("*") if path.is_file())
    return {path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def names(folder: Path, suffix: str = ".wav") -> set[str]:
    """The paths of the files of a kind below a folder."""
    return {path.relative_to(folder).as_posix() for path in folder.rglob(f"*{suffix}")}

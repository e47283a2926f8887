"""The record of a run: run.json in its folder."""

from __future__ import annotations

import datetime
import json
import os
import platform
import subprocess
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.host.feature_cache import files_hash
from s3prl_gendistiller.outputs import write_text

RUN_FILE = "run.json"
SOURCE = "source"


def record_run(folder: Path, argv: Sequence[str], seed: int, source: Path | None = None) -> None:
    """Appends the command, its seed, the versions of the packages and a hash of the upstream `source` to run.json."""
    path = folder / RUN_FILE
    packages = ("s3prl-gendistiller", "s3prl", "torch", "torchaudio", "transformers", "numpy")
    run = {
        "started": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "command": list(argv),
        "folder": os.getcwd(),
        "seed": seed,
        "git_commit": _git_commit(),
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in packages},
        SOURCE: None if source is None else files_hash(source),
    }
    write_text(path, json.dumps([*_earlier(path), run], indent=2) + "\n")


def check_same_source(folder: Path, source: Path) -> None:
    """Refuses to go on with a run whose head was trained on features of another `source`."""
    runs = [run for run in _earlier(folder / RUN_FILE) if isinstance(run, dict) and isinstance(run.get(SOURCE), str)]
    if runs and runs[-1][SOURCE] != (present := files_hash(source)):
        raise UserError(
            f"{source}: is not what the run in {folder} was trained on (hash {present}, then {runs[-1][SOURCE]}); put "
            "that file back, name it with -o args.upstream_ckpt=PATH, or begin another run with -n"
        )


def _earlier(path: Path) -> list[Any]:
    if not path.exists():
        return []
    try:
        runs = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: not readable as the record of a run ({error}); move that file away") from error
    if not isinstance(runs, list):
        raise UserError(f"{path}: found {type(runs).__name__}, expected a list of commands; move that file away")
    return runs


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _git_commit() -> str | None:
    """The commit of a git checkout of this package; None for an installed one."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None
    answer = subprocess.run(["git", "rev-parse", "HEAD"], cwd=root, capture_output=True, text=True, check=False)
    return answer.stdout.strip() or None

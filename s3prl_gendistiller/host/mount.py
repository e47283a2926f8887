"""Makes our tasks and upstreams part of s3prl for this process, without touching a file of it.

With `compat`, the only place that changes the host's globals: it adds to `sys.path`, `pretrain.__path__` and
`s3prl.hub`, and lets s3prl's run_pretrain find its tasks from any working directory.
"""

from __future__ import annotations

import importlib
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.host import compat, hubconf
from s3prl_gendistiller.host.locate import find_host

TASKS = Path(__file__).parent / "tasks"

logger = logging.getLogger(__name__)


def mount_pretrain() -> ModuleType:
    """Adds our pretrain tasks to s3prl's and returns its run_pretrain module."""
    host = find_host()
    compat.apply()
    if str(host.package) not in sys.path:
        sys.path.insert(0, str(host.package))  # run_pretrain imports `pretrain`, `utility`, ... from the top
    pretrain = importlib.import_module("pretrain")
    if str(TASKS) not in pretrain.__path__:
        pretrain.__path__.append(str(TASKS))
    module = importlib.import_module("s3prl.run_pretrain")
    module.os = _HostOs(pretrain_tasks(host.package))  # type: ignore[attr-defined]
    return module


def mount_hub() -> ModuleType:
    """Adds our upstreams to `s3prl.hub` and returns it.

    Raises:
        UserError: s3prl is absent or of another version, or a name is taken by something that is not ours.
    """
    find_host()
    compat.apply()
    hub = importlib.import_module("s3prl.hub")
    for name in hubconf.__all__:
        entry, present = getattr(hubconf, name), getattr(hub, name, None)
        if present is not None and getattr(present, "__module__", "") != hubconf.__name__:
            owner = getattr(present, "__module__", type(present).__name__)
            raise UserError(
                f"s3prl.hub.{name}: already taken by {owner}, expected it to be free;"
                " remove that line from s3prl/hub.py, or uninstall the package that adds it"
            )
        setattr(hub, name, entry)
    logger.info("s3prl.hub: added %s", ", ".join(hubconf.__all__))
    return hub


def run_pretrain(argv: Sequence[str]) -> None:
    """s3prl's own run_pretrain.py with `argv` (without the program's name)."""
    _run_main(mount_pretrain(), argv)


def run_downstream(argv: Sequence[str]) -> None:
    """s3prl's own run_downstream.py with `argv`.

    It replaces `builtins.isinstance` for the process: let this be the last thing that a process does.
    """
    mount_hub()
    _run_main(importlib.import_module("s3prl.run_downstream"), argv)


def pretrain_tasks(package: Path) -> list[str]:
    """Names that ``-u`` of run_pretrain.py takes: the host's tasks and ours."""
    found = [path for folder in (package / "pretrain", TASKS) for path in folder.iterdir()]
    return sorted({path.name for path in found if (path / "pretrain_expert.py").is_file()})


class _HostOs:
    """`os` as s3prl's run_pretrain sees it: ``listdir('pretrain/')`` lists tasks, not the working directory."""

    def __init__(self, tasks: list[str]) -> None:
        self._tasks = tasks

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def listdir(self, path: str = ".") -> list[str]:
        return list(self._tasks) if path == "pretrain/" else os.listdir(path)


def _run_main(module: ModuleType, argv: Sequence[str]) -> None:
    before = sys.argv
    sys.argv = [str(module.__file__), *argv]
    try:
        module.main()
    finally:
        sys.argv = before

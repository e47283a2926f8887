"""The upstreams of s3prl.hub: their names, the files that they read, and one message for a failure to build one.

The teacher's loader, run_downstream.py and the commands that take a student share these functions. `upstream_files`
checks the checkpoint; `runner_checks` checks all else on which s3prl's Runner would fail.
"""

from __future__ import annotations

import contextlib
import difflib
import importlib.util
import inspect
import logging
import pickle
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import FunctionType
from typing import Any

from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.host import hubconf, mount

NEEDS_CHECKPOINT = ("_local", "_custom", "_url", "_gdriveid")
FOLDERS_ENTRY = "transformers_local"  # our entry that reads a transformers folder by its model_type
# Family or name of an upstream -> Python package that s3prl imports when it builds the upstream.
FOREIGN_PACKAGES = {"ast": "timm", "ssast": "timm", "espnet_hubert": "espnet2", "pase": "pase", "byol_s_cvt": "einops"}
# Exceptions of building an upstream that a user can resolve: no network, no or a wrong checkpoint, no package.
FAILURES = (
    OSError,  # urllib, requests and huggingface_hub raise subclasses without a network
    *(RuntimeError, ValueError, LookupError, TypeError, AttributeError, AssertionError, ArithmeticError),
    *(MemoryError, ImportError, EOFError, pickle.UnpicklingError),
)

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Door:
    """Names of the flags or keys through which a user names an upstream, for messages.

    `choose`: phrase that names another upstream; `file`: phrase that names a local file and the upstream that reads it.
    """

    upstream: str
    checkpoint: str
    choose: str
    file: str


LAUNCHER = Door("-u", "-k", "give -u {}", "give a local file with -u {} -k FILE")
STUDENT = Door("--student", "--student", "run_downstream.py takes it with -u {}", "run_downstream.py -u {} -k FILE")
_TEACHER_FILE = "Give a local file as teacher.checkpoint, or a transformers folder as teacher.folder"
TEACHER = Door("teacher.upstream", "teacher.checkpoint", "set teacher.upstream to {}", _TEACHER_FILE)
_UNITS_FILE = "give a local file: gendistiller units --teacher {} --checkpoint FILE"
UNITS = Door("--teacher", "--checkpoint", "give --teacher {}", _UNITS_FILE)


def require_upstream(name: str, door: Door = LAUNCHER) -> Callable[..., Any]:
    """The entry of s3prl.hub; UserError if there is none, or a package that it needs is not installed."""
    if name not in upstreams():
        close = ", ".join(difflib.get_close_matches(name, upstreams(), n=3)) or "nothing; s3prl/hub.py lists all"
        raise UserError(f"{door.upstream}: found {name!r}, expected an upstream of s3prl.hub; close to it: {close}")
    package = FOREIGN_PACKAGES.get(name, FOREIGN_PACKAGES.get(family_of(name), ""))
    if package and importlib.util.find_spec(package) is None:
        raise UserError(
            f"{door.upstream}: found {name}, which needs the Python package {package}; it is not installed here, so "
            "choose another upstream or install what s3prl's upstream/README.md lists"
        )
    entry: Callable[..., Any] = getattr(mount.mount_hub(), name)
    return entry


def upstreams() -> list[str]:
    """Names of all upstreams in s3prl.hub, those of this package included; the module also holds Path and options."""
    entries = {name: entry for name, entry in vars(mount.mount_hub()).items() if isinstance(entry, FunctionType)}
    return [name for name, entry in entries.items() if entry.__module__.endswith(".hubconf") and name[0] != "_"]


def family_of(name: str) -> str:
    """The folder in s3prl/upstream that an upstream comes from, such as "hubert"."""
    parts = str(getattr(getattr(mount.mount_hub(), name, None), "__module__", "")).split(".")
    return parts[-2] if len(parts) > 1 else parts[0]


def reads_checkpoint(name: str) -> bool:
    """Whether an upstream reads the checkpoint that is passed to it; the others overwrite or drop it."""
    return name.endswith(NEEDS_CHECKPOINT) and "ckpt" in parameters_of(name) or name == "customized_upstream"


def is_ours(name: str) -> bool:
    return name in hubconf.__all__


def expert_class(name: str) -> Any:
    """Class behind an entry; None if the entry's file has none."""
    return getattr(mount.mount_hub(), name).__globals__.get("_UpstreamExpert")


def parameters_of(name: str) -> set[str]:
    """Names of the parameters of an entry and of the class behind it."""
    entry, expert = getattr(mount.mount_hub(), name), expert_class(name)
    found = set(inspect.signature(entry).parameters)
    return found if expert is None else found | set(inspect.signature(expert.__init__).parameters)


@contextlib.contextmanager
def building(name: str, checkpoint: str | None, door: Door = LAUNCHER) -> Iterator[None]:
    """Turns one of `FAILURES` of building s3prl's upstream into a UserError; our own upstreams keep their traceback."""
    try:
        yield
    except FAILURES as error:
        if is_ours(name):
            raise
        reason = ": ".join([type(error).__name__, *str(error).strip().splitlines()[:1]])[:300]
        local = f"{family_of(name)}_local"
        file = door.file.format(local) if local in upstreams() else "choose another upstream"
        if checkpoint is None:
            raise UserError(
                f"{door.upstream}: {name} could not be downloaded or loaded ({reason}); expected it from the network "
                f"or whole in s3prl's cache (~/.cache/s3prl); {file}"
            ) from error
        raise UserError(
            f"{door.checkpoint}: {checkpoint} could not be loaded by s3prl.hub.{name} ({reason}); expected a "
            f"checkpoint of that kind{', or a transformers folder as teacher.folder' if door is TEACHER else ''}"
        ) from error

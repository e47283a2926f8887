"""What may be named as an upstream of s3prl, and with which checkpoint: one check for every door.

s3prl hands a name, a path and a text on to whatever stands behind them, and ends in a traceback where they do not fit.
The teacher's loader, run_downstream.py and the commands that take a student ask here first. Nothing is downloaded or
built: `host.upstream_files` reads what a checkpoint holds, and `building` puts a failure of the host into one message.
"""

from __future__ import annotations

import contextlib
import difflib
import importlib.util
import inspect
import logging
import os
import pickle
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import FunctionType
from typing import Any

from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.host import hubconf, mount

NEEDS_CHECKPOINT = ("_local", "_custom", "_url", "_gdriveid")
FOLDERS_ENTRY = "transformers_local"
"""Our own entry, which reads a transformers folder by its model_type."""
# By family or by name, the module of another package that s3prl imports only when the upstream is built.
FOREIGN_PACKAGES = {"ast": "timm", "ssast": "timm", "espnet_hubert": "espnet2", "pase": "pase", "byol_s_cvt": "einops"}
# What building an expert may fail with that is a user's matter: no network, no or a wrong checkpoint, no package.
FAILURES = (
    OSError,  # also what urllib, requests and huggingface_hub raise without a network
    RuntimeError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    AssertionError,
    ArithmeticError,
    MemoryError,
    ImportError,
    EOFError,
    pickle.UnpicklingError,
)

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Door:
    """What the place at which an upstream is named is called in messages.

    Attributes:
        upstream, checkpoint: its name and its checkpoint.
        choose: how another upstream is named.
        file: how a local file is named with the upstream that reads it.
    """

    upstream: str
    checkpoint: str
    choose: str
    file: str


LAUNCHER = Door("-u", "-k", "give -u {}", "give a local file with -u {} -k FILE")
STUDENT = Door("--student", "--student", "run_downstream.py takes it with -u {}", "run_downstream.py -u {} -k FILE")
TEACHER = Door(
    "teacher.upstream",
    "teacher.checkpoint",
    "set teacher.upstream to {}",
    "Give a local file as teacher.checkpoint, or a transformers folder as teacher.folder",
)
UNITS = Door(
    "--teacher",
    "--checkpoint",
    "give --teacher {}",
    "give a local file: gendistiller units --teacher {} --checkpoint FILE",
)


def require_upstream(name: str, door: Door = LAUNCHER) -> Callable[..., Any]:
    """The entry of s3prl.hub.

    Raises:
        UserError: there is none of this name, or it is none that this installation can build.
    """
    entry = getattr(mount.mount_hub(), name, None) if name.isidentifier() else None
    if not isinstance(entry, FunctionType) or not entry.__module__.endswith(".hubconf"):  # it also holds Path, options
        close = ", ".join(difflib.get_close_matches(name, upstreams(), n=3)) or "nothing; s3prl/hub.py lists all"
        raise UserError(f"{door.upstream}: found {name!r}, expected an upstream of s3prl.hub; close to it: {close}")
    package = FOREIGN_PACKAGES.get(name, FOREIGN_PACKAGES.get(family_of(name), ""))
    if package and importlib.util.find_spec(package) is None:
        raise UserError(
            f"{door.upstream}: found {name}, which needs the Python package {package}; it is not installed here, so "
            "choose another upstream or install what s3prl's upstream/README.md asks for"
        )
    return entry


def upstreams() -> list[str]:
    """The names in s3prl.hub that are upstreams, ours included."""
    entries = vars(mount.mount_hub()).items()
    return [
        name
        for name, entry in entries
        if isinstance(entry, FunctionType) and entry.__module__.endswith(".hubconf") and name[0] != "_"
    ]


def family_of(name: str) -> str:
    """The folder in s3prl/upstream that an upstream comes from, such as "hubert"."""
    parts = str(getattr(getattr(mount.mount_hub(), name, None), "__module__", "")).split(".")
    return parts[-2] if len(parts) > 1 else parts[0]


def reads_checkpoint(name: str) -> bool:
    """Whether an upstream reads the checkpoint that it is given; all others overwrite or drop it."""
    return name.endswith(NEEDS_CHECKPOINT) and "ckpt" in _parameters(name) or name == "customized_upstream"


def check_upstream(
    name: str, checkpoint: str | None, settings: str | None = None, door: Door = LAUNCHER, *, goes_on: bool = False
) -> None:
    """Refuses what s3prl's Runner cannot build, as far as that can be known without building it.

    Args:
        name: of an entry of s3prl.hub.
        checkpoint: path or address that is to be handed to it; None for none.
        settings: model configuration that is to be handed to it; None for none.
        goes_on: it is that of a run that goes on, where what is not read does no harm.

    Raises:
        UserError: there is no such upstream, the Runner cannot use it, it does not read what is given or lacks what it
            reads, or the checkpoint is no file of its kind.
    """
    from s3prl_gendistiller.host.upstream_files import check_file

    require_upstream(name, door)
    _check_fit_for_runner(name, door)
    if checkpoint is not None and not reads_checkpoint(name) and not goes_on:
        local = f"{family_of(name)}_local"
        instead = f", or {door.choose.format(local)}" if local in upstreams() and reads_checkpoint(local) else ""
        raise UserError(
            f"{door.checkpoint}: found {checkpoint} with {door.upstream} {name}, which does not read it; leave it "
            f"out{instead}"
        )
    if settings is not None and not _reads_settings(name):
        raise UserError(f"-g: found {settings!r} with {door.upstream} {name}, which does not read it; leave it out")
    if checkpoint is None and reads_checkpoint(name) and name != "customized_upstream":
        raise UserError(f"{door.checkpoint}: missing; expected a checkpoint's path, because {name} has none of its own")
    if settings is None and not goes_on and _requires(name, "model_config"):
        raise UserError(f"-g: missing; expected the YAML file that {door.upstream} {name} reads")
    if settings is not None and not _ours(name) and not os.path.isfile(settings):
        raise UserError(f"-g {settings}: no such file; expected the YAML file that {name} reads")
    if checkpoint is not None and reads_checkpoint(name):
        check_file(name, checkpoint, door)


def check_layer(name: str, checkpoint: str | None, steps: int | None, layer: int | None) -> None:
    """Of ``-l``, where the file says how many hidden states there are; `runner_checks` asks all others.

    Args:
        steps: of a GenDistiller; None for all.

    Raises:
        UserError: there is no such layer.
    """
    from s3prl_gendistiller.host.upstream_files import count_states

    if layer is not None:
        states = count_states(name, checkpoint, steps)
        if states is not None and not -states <= layer < states:
            raise UserError(no_layer(layer, states, name))


def no_layer(layer: int, states: int, name: str) -> str:
    """The message about a layer that is not there."""
    return f"-l: found {layer}, expected 0..{states - 1}, of the {states} hidden states of {name}, or -1 for the last"


def _ours(name: str) -> bool:
    return name in hubconf.__all__


def _expert(name: str) -> Any:
    """The class behind an entry; None where its file keeps none."""
    return getattr(mount.mount_hub(), name).__globals__.get("_UpstreamExpert")


def _parameters(name: str) -> set[str]:
    """What an entry and the class behind it take by name."""
    entry, expert = getattr(mount.mount_hub(), name), _expert(name)
    found = set(inspect.signature(entry).parameters)
    return found if expert is None else found | set(inspect.signature(expert.__init__).parameters)


def _requires(name: str, parameter: str) -> bool:
    given = inspect.signature(getattr(mount.mount_hub(), name)).parameters.get(parameter)
    return given is not None and given.default is inspect.Parameter.empty


def _reads_settings(name: str) -> bool:
    """Whether ``-g`` does anything: the baselines under their own names and pase_plus overwrite it."""
    if family_of(name) in ("baseline", "pase") and not name.endswith(NEEDS_CHECKPOINT):
        return False
    return "model_config" in _parameters(name)


def _check_fit_for_runner(name: str, door: Door) -> None:
    """s3prl's Runner hands a checkpoint to each upstream and asks it for its frame rate."""
    expert = _expert(name)
    if expert is None:
        return
    parameters = inspect.signature(expert.__init__).parameters.values()
    swallows = any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters)
    if not swallows and "ckpt" not in {parameter.name for parameter in parameters}:
        lack = "takes no checkpoint, not even none"
    elif not hasattr(expert, "get_downsample_rates"):
        lack = "does not say how many frames a second it gives"
    else:
        return
    raise UserError(
        f"{door.upstream}: found {name}, which s3prl {_version()} offers and its Runner cannot use: it {lack}; choose "
        "another upstream, such as fbank"
    )


def _version() -> str:
    from s3prl_gendistiller.host.locate import find_host

    return find_host().version


@contextlib.contextmanager
def building(name: str, checkpoint: str | None, door: Door = LAUNCHER) -> Iterator[None]:
    """Turns what s3prl raises when it builds an upstream into one message; a bug of ours stays a bug.

    Raises:
        UserError: in place of `FAILURES`.
    """
    try:
        yield
    except FAILURES as error:
        if _ours(name):
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

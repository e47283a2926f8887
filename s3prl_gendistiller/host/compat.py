"""Supplies names that s3prl imports from its libraries and that present versions of them no longer have.

Each shim checks whether its name is missing or cannot work, adds a stand-in from `shims` if so, and describes it in one
line. A name that works is never replaced.

A script of s3prl's own, for example in a git checkout, runs on today's libraries with

    python -m s3prl_gendistiller.host.compat run_downstream.py -m train -d asr ...

Without a script the command lists the names that it would supply.
"""

from __future__ import annotations

import argparse
import importlib.util
import inspect
import logging
import os
import runpy
import sys
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.host import first_time
from s3prl_gendistiller.host.locate import is_checkout, is_host_package
from s3prl_gendistiller.host.shims import audio_effects, audio_extension, audio_files, hub_access, interpreter, samplers

# Classes, besides tensors and plain values, that checkpoints of s3prl's runners hold: the arguments, and the
# learning rate schedule inside the parameter groups of s3prl's BertAdam and Lamb (`AdamW_with_schedule`).
# Schedulers store no classes. The pretraining runner imports `optimizers` from the top, the downstream
# runner `s3prl.optimizers`.
SHAPES = ("Constant", "Cosine", "CosineWithHardRestarts", "CosineWithWarmupRestarts", "Linear")
SCHEDULES = ("ConstantLR", *(f"Warmup{shape}Schedule" for shape in SHAPES))
SCHEDULE_MODULES = ("optimizers", "s3prl.optimizers")

_SAFE_GLOBALS = "torch.load of s3prl's checkpoints"

logger = logging.getLogger(__name__)


def apply() -> list[str]:
    """Supplies missing names and returns one line for each shim that was needed; a second call does nothing.

    The log names them once for each installation, and again if they change; ``-v`` names them each time.
    """
    supplied = [line for shim in SHIMS if (line := shim()) is not None]
    if supplied:
        # a command that has read a checkpoint has supplied that line before
        lasting = "; ".join(line for line in supplied if line != _SAFE_GLOBALS)
        read = logger.isEnabledFor(logging.INFO) and logger.hasHandlers()
        level = logging.INFO if read and first_time.is_new("supplied", lasting) else logging.DEBUG
        logger.log(
            level, "s3prl on today's libraries: supplied %s (said once, then with --verbose)", "; ".join(supplied)
        )
    return supplied


def safe_globals() -> list[Any]:
    """The allow-list for `torch.load`: classes, and (class, name in the file) pairs."""
    optimizers = importlib.import_module("s3prl.optimizers")  # light: needs torch alone
    names = [(module, name) for module in SCHEDULE_MODULES for name in SCHEDULES]
    return [argparse.Namespace, *((getattr(optimizers, name), f"{module}.{name}") for module, name in names)]


def supply_torchaudio_extension() -> str | None:
    """A torchaudio compiled for another torch (for CUDA, on a CPU) cannot be imported without a stand-in."""
    before = set(sys.modules)
    try:
        importlib.import_module("torchaudio")
        return None
    except ModuleNotFoundError:
        raise
    except (OSError, RuntimeError, ImportError) as problem:
        reason = str(problem).splitlines()[0]
    _forget(before)
    sys.modules[audio_extension.NAME] = audio_extension.stub()
    try:
        importlib.import_module("torchaudio")
    except Exception:
        _forget(before)
        raise
    logger.debug("torchaudio's compiled library was left out: %s", reason)
    return "torchaudio without its compiled library"


def supply_audio_effects() -> str | None:
    """torchaudio 2.9 removed `sox_effects`; older versions may lack the sox library."""
    torchaudio = importlib.import_module("torchaudio")
    if getattr(torchaudio, "sox_effects", None) is audio_effects:
        return None
    if hasattr(torchaudio, "sox_effects") and any("sox" in name for name in torchaudio.list_audio_backends()):
        return None
    torchaudio.sox_effects = audio_effects  # type: ignore[attr-defined]
    sys.modules["torchaudio.sox_effects"] = audio_effects
    return "torchaudio.sox_effects"


def supply_audio_files() -> str | None:
    """torchaudio 2.9 reads and writes through torchcodec alone; older versions have soundfile as a backend."""
    torchaudio = importlib.import_module("torchaudio")
    if torchaudio.load is audio_files.load or hasattr(torchaudio, "list_audio_backends"):
        return None
    if _module("torchcodec.decoders") is not None:
        return None
    torchaudio.load = audio_files.load  # type: ignore[attr-defined]
    torchaudio.save = audio_files.save  # type: ignore[attr-defined]
    return "torchaudio.load, save (soundfile)"


def supply_audio_info() -> str | None:
    """torchaudio 2.9 removed `info`."""
    found = _supply_missing(importlib.import_module("torchaudio"), info=audio_files.info)
    return found and f"{found} (soundfile)"


def supply_audio_backends() -> str | None:
    """torchaudio 2.9 removed `set_audio_backend`, which s3prl calls at import."""
    torchaudio = importlib.import_module("torchaudio")
    present: dict[str, Any] = {"get_audio_backend": lambda: "soundfile", "list_audio_backends": lambda: ["soundfile"]}
    return _supply_missing(torchaudio, set_audio_backend=lambda backend: None, **present)


def supply_hub_access() -> str | None:
    """huggingface_hub 1 removed `HfFolder` and `Repository`, which both scripts of s3prl import.

    `--hub huggingface` calls `HfApi.login` and `snapshot_download(..., use_auth_token=True)`, which it removed too.
    """
    hub = _module("huggingface_hub")
    if hub is None:
        return None
    supplied = [
        _supply_missing(hub, HfFolder=hub_access.HfFolder, Repository=hub_access.Repository),
        _supply_missing(hub.HfApi, login=hub_access.login),
    ]
    if "use_auth_token" not in inspect.signature(hub.snapshot_download, follow_wrapped=False).parameters:
        hub.snapshot_download = hub_access.accept_old_arguments(hub.snapshot_download)  # type: ignore[attr-defined]
        supplied.append("snapshot_download's old arguments")
    return ", ".join(filter(None, supplied)) or None


def supply_catalyst() -> str | None:
    """The keyword spotting task needs one class of catalyst, whose releases fail on Python 3.10 and later."""
    if _module("catalyst.data.sampler") is not None:
        return None
    supply_module("catalyst.data.sampler", DistributedSamplerWrapper=samplers.DistributedSamplerWrapper)
    return "catalyst.data.sampler.DistributedSamplerWrapper"


def supply_distutils() -> str | None:
    """Python 3.12 removed distutils, of which s3prl's builders use `strtobool`."""
    if importlib.util.find_spec("distutils") is not None:  # on 3.12 setuptools may bring it
        return None
    supply_module("distutils.util", strtobool=interpreter.strtobool)
    return "distutils.util.strtobool"


def supply_exits() -> str | None:
    """tensorboardX starts a thread at exit to close a log without events; Python 3.12 forbids that with a traceback."""
    writer = _module("tensorboardX.writer") if sys.version_info >= (3, 12) else None
    if writer is None or writer.atexit is interpreter:
        return None
    writer.atexit = interpreter  # type: ignore[attr-defined]
    return "tensorboardX.writer.atexit"


def supply_safe_globals() -> str | None:
    """`torch.load` refuses s3prl's own checkpoints by default; resume and evaluation need them."""
    if os.environ.get("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD") == "1" or importlib.util.find_spec("s3prl") is None:
        return None
    present = set(torch.serialization.get_safe_globals())
    missing = [entry for entry in safe_globals() if entry not in present]
    if not missing:
        return None
    torch.serialization.add_safe_globals(missing)
    return _SAFE_GLOBALS


# The order matters: the first makes torchaudio importable, and the names of backends are read before they are supplied.
SHIMS: tuple[Callable[[], str | None], ...] = (
    supply_torchaudio_extension,
    supply_audio_effects,
    supply_audio_files,
    supply_audio_info,
    supply_audio_backends,
    supply_hub_access,
    supply_catalyst,
    supply_distutils,
    supply_exits,
    supply_safe_globals,
)


def run_script(path: str | Path, argv: Sequence[str]) -> None:
    """Runs a Python script as `python path argv...` would, after supplying missing names; UserError if there is none.

    A script in the package folder of an s3prl checkout imports that checkout as `s3prl`.
    """
    script = Path(path)
    if not script.is_file():
        raise UserError(f"{path}: no such script; expected a Python file, such as run_downstream.py of s3prl")
    put_on_path(script)
    sys.argv = [str(path), *argv]
    apply()
    runpy.run_path(str(path), run_name="__main__")


def put_on_path(script: Path) -> None:
    """Puts the script's folder first on `sys.path`, as Python does, and its checkout of s3prl before site-packages."""
    folder = script.resolve().parent
    places = [folder, folder.parent] if is_host_package(folder) and is_checkout(folder) else [folder]
    for place in reversed([str(place) for place in places]):
        if place in sys.path:
            sys.path.remove(place)
        sys.path.insert(0, place)


def main(argv: Sequence[str]) -> int:
    """`python -m s3prl_gendistiller.host.compat [SCRIPT [ARGS...]]`; returns the exit status."""
    try:
        if argv:
            run_script(argv[0], argv[1:])
        else:
            print("\n".join(apply()) or "nothing to supply: every name that s3prl needs is there")
    except UserError as problem:
        sys.stderr.write(f"{problem}\n")
        return 2
    return 0


def supply_module(name: str, **contents: Any) -> None:
    """Adds a module of that content to `sys.modules`, with empty packages around it where they are missing."""
    module, (package, _, last) = ModuleType(name), name.rpartition(".")
    module.__spec__ = ModuleSpec(name, None)
    vars(module).update(contents)
    sys.modules[name] = module
    if package:
        if package not in sys.modules:
            supply_module(package, __path__=[])
        setattr(sys.modules[package], last, module)


def _module(name: str) -> ModuleType | None:
    """The imported module; None if the import fails."""
    try:
        return importlib.import_module(name)
    except (ImportError, AttributeError, OSError, RuntimeError):
        return None


def _supply_missing(holder: Any, **stand_ins: Any) -> str | None:
    """Adds the names that a module or a class lacks; None if nothing is missing."""
    missing = [name for name in stand_ins if not hasattr(holder, name)]
    for name in missing:
        setattr(holder, name, stand_ins[name])
    return f"{holder.__name__}.{', '.join(missing)}" if missing else None


def _forget(before: set[str]) -> None:
    """Removes half-imported modules of torchaudio."""
    for name in set(sys.modules) - before:
        if name.split(".")[0] == "torchaudio":
            del sys.modules[name]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

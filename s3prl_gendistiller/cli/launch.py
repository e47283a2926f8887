"""What the two launchers share: errors, what is filled in, where a run lives, and its record."""

from __future__ import annotations

import argparse
import ast
import atexit
import contextlib
import datetime
import json
import logging
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
import yaml

from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.host.checkpoint import newest_checkpoint, read_checkpoint
from s3prl_gendistiller.host.memory import keep_freed_memory
from s3prl_gendistiller.schema import merge

Host = Callable[[Sequence[str]], None]
RUN_FILE = "run.json"
OVERRIDE_SEPARATOR = ",,"


def guarded(main: Callable[[Sequence[str]], int | None], argv: Sequence[str] | None) -> int:
    """Runs `main`; a user's mistake becomes one message and exit status 2, ctrl-C status 130."""
    configure_logging()
    keep_freed_memory()
    try:
        return main(sys.argv[1:] if argv is None else argv) or 0
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; add -a to the same command to go on from the newest checkpoint", file=sys.stderr)
        return 130


def configure_logging() -> None:
    """Our log lines go to stderr with our name in front; the host's logging stays its own business."""
    package = logging.getLogger("s3prl_gendistiller")
    if not package.handlers:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("[gendistiller] %(message)s"))
        package.addHandler(handler)
        package.setLevel(logging.INFO)
        package.propagate = False
    # the host's loops use torch.cuda.amp, whose deprecation would be printed on every run
    warnings.filterwarnings("ignore", message=".*torch.cuda.amp.*", category=FutureWarning)
    warnings.filterwarnings("ignore", message=".*CUDA is not available.*", category=UserWarning)


def say_filled_in(filled: dict[str, str]) -> None:
    """One line that names everything the command left out."""
    if filled:
        logging.getLogger(__name__).info(
            "filled in: %s", ", ".join(f"{flag} {value}" for flag, value in filled.items())
        )


def choose_device(asked: str | None, filled: dict[str, str]) -> str:
    """`asked` (s3prl's default is cuda), or cpu where there is no GPU."""
    if (asked is None or asked.startswith("cuda")) and not torch.cuda.is_available():
        filled["--device"] = "cpu (no GPU found)"
        return "cpu"
    return asked or "cuda"


def named_folder(args: argparse.Namespace, root: Path) -> Path | None:
    """The run folder that ``-p`` or ``-n`` name."""
    if args.expdir:
        return Path(args.expdir)
    return root / args.expname if args.expname else None


def free_name(root: Path, name: str) -> str:
    """`name`, or `name-2`, `name-3`, ...: the first that is no folder of `root` yet."""
    candidate, count = name, 1
    while (root / candidate).exists():
        count += 1
        candidate = f"{name}-{count}"
    return candidate


def refuse_to_overwrite(folder: Path) -> None:
    """s3prl would train over the checkpoints of an earlier run and delete them one by one."""
    found = sorted(folder.glob("states-*.ckpt"))
    if found:
        raise UserError(
            f"{folder}: holds {len(found)} checkpoints of an earlier run ({found[-1].name}); expected a new folder. "
            "Add -a to go on with it, or give another -n"
        )


def checkpoint_to_resume(past: str | None, auto: bool, folder: Path | None) -> Path | None:
    """The checkpoint that ``-e PATH`` or ``-a`` mean: the newest whole one, by the step stored inside.

    Raises:
        UserError: ``-e`` names a folder without a whole checkpoint, or no training checkpoint.
    """
    chosen: Path | None = None
    if past is not None:
        chosen = newest_checkpoint(past) if Path(past).is_dir() else Path(past)
        if chosen is None:
            raise UserError(f"-e {past}: found no whole states-*.ckpt in this folder; name a run that has saved one")
    elif auto and folder is not None and folder.is_dir():
        chosen = newest_checkpoint(folder)
    if chosen is not None:
        missing = [
            key for key in ("Optimizer", "Step", "Args", "Config") if key not in read_checkpoint(chosen, mmap=True)
        ]
        if missing:
            raise UserError(f"{chosen}: found no {', '.join(missing)} in it, expected a checkpoint of s3prl's Runner")
    return chosen


def resume_overrides(checkpoint: Path, asked: str | None, device: str) -> str:
    """s3prl takes device and folder from the checkpoint; this puts today's in their place, then the user's own."""
    overrides = [f"args.device={device!r}"]
    stored = read_checkpoint(checkpoint, mmap=True)["Args"]
    folder = str(checkpoint.resolve().parent)
    moved = str(Path(stored.expdir).resolve()) != folder
    if moved and OVERRIDE_SEPARATOR not in folder and "=" not in folder:
        overrides.append(f"args.expdir={folder!r}")
    return OVERRIDE_SEPARATOR.join([*overrides, *([asked] if asked else [])])


def apply_overrides(content: dict[str, Any], overrides: str | None) -> dict[str, Any]:
    """The configuration as s3prl's ``-o "config.a.b=1,,config.c='x'"`` will leave it.

    s3prl evaluates the values as Python; here only literals are read, anything else counts as text.

    Raises:
        UserError: an option is not of the form key=value.
    """
    for option in (overrides or "").split(OVERRIDE_SEPARATOR):
        if not option.strip() or overrides in ("none", "None"):
            continue
        name, separator, text = option.partition("=")
        if not separator or "=" in text:
            raise UserError(
                f"-o: found {option.strip()!r}, expected key=value; separate several with {OVERRIDE_SEPARATOR}"
            )
        first, *path = name.strip().split(".")
        if first != "config" or not path:
            continue
        try:
            value: Any = ast.literal_eval(text.strip())
        except (ValueError, SyntaxError):
            value = text.strip()
        for part in reversed(path):
            value = {part: value}
        content = merge(content, value)
    return content


def write_yaml(content: dict[str, Any], path: Path) -> Path:
    """Writes a resolved configuration for the host, which knows neither `base` nor variables."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(content, sort_keys=False, allow_unicode=True), encoding="utf-8")
    return path


def scratch_folder() -> Path:
    """A folder for files that the host copies; it goes with the process."""
    folder = tempfile.TemporaryDirectory(prefix="gendistiller-")
    atexit.register(folder.cleanup)
    return Path(folder.name)


@contextlib.contextmanager
def new_folder(folder: Path) -> Iterator[None]:
    """Takes back a run folder that this process made if the run fails before its first checkpoint."""
    existed = folder.exists()
    try:
        yield
    except UserError:
        if not existed and folder.is_dir() and not any(folder.glob("*.ckpt")):
            shutil.rmtree(folder)
        raise


def record_run(folder: Path, argv: Sequence[str], seed: int) -> None:
    """Appends what ran, with which versions, to the folder's run.json."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / RUN_FILE
    runs = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []
    packages = ("s3prl-gendistiller", "s3prl", "torch", "torchaudio", "transformers", "numpy")
    runs.append(
        {
            "started": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
            "command": list(argv),
            "folder": os.getcwd(),
            "seed": seed,
            "git_commit": _git_commit(),
            "python": platform.python_version(),
            "packages": {name: _version(name) for name in packages},
        }
    )
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(runs, indent=2) + "\n", encoding="utf-8")
    os.replace(partial, path)


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

"""What the two launchers share: errors, what is filled in, and where a run lives."""

from __future__ import annotations

import argparse
import atexit
import contextlib
import logging
import os
import shutil
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml

from s3prl_gendistiller.cli.record import record_run
from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.host.checkpoint import newest_checkpoint, read_checkpoint
from s3prl_gendistiller.host.memory import keep_few_primitives, keep_freed_memory
from s3prl_gendistiller.host.overrides import OVERRIDE_SEPARATOR
from s3prl_gendistiller.host.paths import RESOLVED_CONFIG

Host = Callable[[Sequence[str]], None]
"""What a completed command is handed to, as the last act of this process."""


def guarded(main: Callable[[Sequence[str]], int | None], argv: Sequence[str] | None) -> int:
    """Runs `main`; a user's mistake becomes one message and exit status 2, ctrl-C status 130."""
    configure_logging()
    keep_freed_memory()
    keep_few_primitives()
    try:
        status = main(sys.argv[1:] if argv is None else argv) or 0
        sys.stdout.flush()
        return status
    except BrokenPipeError:  # whoever reads, as `| head`, has seen enough; nor may the interpreter flush at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141  # what a shell reports for it
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; add -a to the same command to go on from the newest checkpoint", file=sys.stderr)
        return 130


@dataclass(frozen=True)
class Plan:
    """What the host is to be called with.

    Attributes:
        command: its arguments.
        folder: of the run.
        config: a resolved configuration that is written to the folder and given as ``-c``.
    """

    command: list[str]
    folder: Path
    config: dict[str, Any] | None = None


def run(
    argv: Sequence[str],
    host: Host,
    parser: argparse.ArgumentParser,
    results: Path,
    plan: Callable[[argparse.Namespace, str, Path | None, dict[str, str]], Plan],
) -> None:
    """Completes a command, says what was filled in, records it and hands it to the host.

    Args:
        parser: of the flags that are completed; all others pass through as they are. Its epilog stands above the
            host's own help.
        results: where runs live that have a name and no folder.
        plan: from the arguments, the device, the checkpoint to go on with, and what was filled in so far.
    """
    if {"-h", "--help"} & set(argv):
        if parser.epilog:
            print(parser.epilog, flush=True)
        host(["--help"])
    args, others = parser.parse_known_args(argv)
    filled: dict[str, str] = {}
    device = choose_device(args.device, filled)
    checkpoint = checkpoint_to_resume(args.past_exp, args.auto_resume, named_folder(args, results))
    if checkpoint is not None:
        filled["-e"] = str(checkpoint)
    planned = plan(args, device, checkpoint, filled)
    say_filled_in(filled)
    with new_folder(planned.folder):
        record_run(planned.folder, argv, args.seed)
        command = planned.command
        if planned.config is not None:
            command = [*command, "-c", str(write_yaml(planned.config, planned.folder / RESOLVED_CONFIG))]
        host([*command, *others])


def host_flags(name: str, *, allow_abbrev: bool) -> argparse.ArgumentParser:
    """The flags that both of the host's scripts have; the host parses and documents them itself."""
    parser = argparse.ArgumentParser(prog=name, add_help=False, allow_abbrev=allow_abbrev)
    parser.add_argument("-e", "--past_exp")
    parser.add_argument("-o", "--override")
    parser.add_argument("-c", "--config")
    parser.add_argument("-u", "--upstream")
    parser.add_argument("-n", "--expname")
    parser.add_argument("-p", "--expdir")
    parser.add_argument("-a", "--auto_resume", action="store_true")
    parser.add_argument("--seed", default=1337, type=int)
    parser.add_argument("--device")
    return parser


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
    # s3prl builds its models with it
    warnings.filterwarnings("ignore", message=".*utils.weight_norm. is deprecated.*", category=FutureWarning)


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

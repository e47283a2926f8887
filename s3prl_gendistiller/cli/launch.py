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
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml

from s3prl_gendistiller.cli import arguments, resume
from s3prl_gendistiller.cli.record import record_run
from s3prl_gendistiller.distill.metrics import METRICS_FILE
from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.host.devices import check_device
from s3prl_gendistiller.host.failures import explained, user_cause, workers_key
from s3prl_gendistiller.host.lock import locked
from s3prl_gendistiller.host.memory import keep_few_primitives, keep_freed_memory
from s3prl_gendistiller.host.paths import RESOLVED_CONFIG
from s3prl_gendistiller.outputs import check_writable

LOCK = ".run.lock"
IN_USE = "another run is training there; wait for it or end it, or give another -n"

Host = Callable[[Sequence[str]], None]
"""What a completed command is handed to, as the last act of this process."""
SEED = 1337
"""s3prl's."""


class Interrupted(KeyboardInterrupt):
    """A ctrl-C, with what somebody can do to go on as its message."""


def guarded(main: Callable[[Sequence[str]], int | None], argv: Sequence[str] | None) -> int:
    """Runs `main`; a user's mistake, a full disk and the like become one message and exit status 2, ctrl-C 130."""
    configure_logging()
    keep_freed_memory()
    os.environ.pop("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", None)  # with it, torch.load runs what stands in a file
    keep_few_primitives()
    try:
        given = sys.argv[1:] if argv is None else argv
        arguments.refuse_unreadable(given)
        status = main(given) or 0
        sys.stdout.flush()
        return status
    except BrokenPipeError:  # whoever reads, as `| head`, has seen enough; nor may the interpreter flush at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141  # what a shell reports for it
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as stop:
        print(f"stopped; {stop}" if isinstance(stop, Interrupted) else "stopped", file=sys.stderr)
        return 130
    except Exception as error:
        cause = user_cause(error)
        if cause is None:
            raise
        print(f"error: {cause}", file=sys.stderr)
        return 2


@dataclass(frozen=True)
class HostCall:
    """What the host is to be called with.

    Attributes:
        command: its arguments.
        folder: of the run.
        config: a resolved configuration that is written to the folder and given as ``-c``.
        trains: whether checkpoints are written, with which a stopped run goes on.
        read_by: the configuration that says with how many processes data are read; none where that is not known.
        source: checkpoint or folder that is evaluated, whose content the run records.
    """

    command: list[str]
    folder: Path
    config: dict[str, Any] | None = None
    trains: bool = True
    read_by: Mapping[str, Any] | None = None
    source: Path | None = None


def run(
    argv: Sequence[str],
    host: Host,
    parser: argparse.ArgumentParser,
    results: Path,
    complete: Callable[[argparse.Namespace, str, Path | None, dict[str, str]], HostCall],
) -> None:
    """Completes a command, says what was filled in, records it and hands it to the host.

    Args:
        parser: of the flags that are completed; all others pass through as they are. Its epilog stands above the
            host's own help.
        results: where runs live that have a name and no folder.
        complete: from the arguments, the device, the checkpoint to go on with, and what was filled in so far.
    """
    if {"-h", "--help"} & set(argv):
        if parser.epilog:
            print(parser.epilog, flush=True)
        host(["--help"])
    args = parser.parse_args(argv)
    args.overrides = arguments.take_overrides(args, parser)
    _check_place(args)
    filled: dict[str, str] = {}
    device = choose_device(args.device, filled)
    checkpoint = resume.checkpoint_to_resume(args.past_exp, args.auto_resume, named_folder(args, results), parser.prog)
    if checkpoint is not None:
        filled["-e"] = str(checkpoint)
    call = complete(args, device, checkpoint, filled)
    check_writable(call.folder, _place_flag(args), folder=True)
    readers = workers_key(call.config or call.read_by or {})
    with new_folder(call.folder, trains=call.trains), explained(readers):
        if args.auto_resume and checkpoint is None:
            resume.set_aside(call.folder)
        say_filled_in(filled)
        record_run(call.folder, argv, SEED if args.seed is None else args.seed, call.source)
        command = call.command
        if call.config is not None:
            command = [*command, "-c", str(write_yaml(call.config, call.folder / RESOLVED_CONFIG))]
        try:
            host(command)
        except KeyboardInterrupt as stop:
            raise Interrupted(resume.way_on(call.folder, parser.prog, call.trains)) from stop


def _check_place(args: argparse.Namespace) -> None:
    """Of the flags that say where a run lives, those that belong together."""
    if args.auto_resume and args.past_exp is not None:
        raise UserError(f"-a: found together with -e {args.past_exp}, which says with what to go on; leave -a out")
    if args.auto_resume and args.expname is None and args.expdir is None:
        raise UserError("-a: found without the name of a run to go on with; give -n or -p as well, or -e in its place")
    for flag, value in (("-n", args.expname), ("-p", args.expdir)):
        if value is not None and args.past_exp is not None:
            raise UserError(
                f"{flag} {value}: found together with -e {args.past_exp}; a run goes on where it lies, leave it out"
            )


def _place_flag(args: argparse.Namespace) -> str:
    return "-p" if args.expdir is not None else "-e" if args.past_exp is not None else "-n"


def host_flags(name: str) -> argparse.ArgumentParser:
    """The flags that both of the host's scripts have; None stands for what was not given, and for s3prl's default."""
    parser = arguments.Parser(prog=name, add_help=False)
    parser.add_argument("-e", "--past_exp", type=arguments.text)
    parser.add_argument("-o", "--override")
    parser.add_argument("-c", "--config", type=arguments.text)
    parser.add_argument("-u", "--upstream", type=arguments.text)
    parser.add_argument("-n", "--expname", type=arguments.run_name)
    parser.add_argument("-p", "--expdir", type=arguments.text)
    parser.add_argument("-a", "--auto_resume", action="store_true")
    parser.add_argument("--seed", type=arguments.seed)
    parser.add_argument("--device", type=arguments.text)
    return parser


class _Messages(logging.StreamHandler):
    """Writes to what is stderr at the time, which a second call in one process may find replaced."""

    def emit(self, record: logging.LogRecord) -> None:
        self.stream = sys.stderr
        super().emit(record)


def configure_logging() -> None:
    """Our log lines go to stderr with our name in front; the host's logging stays its own business."""
    package = logging.getLogger("s3prl_gendistiller")
    if not package.handlers:
        handler = _Messages()
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
    """`asked` (s3prl's default is cuda), or cpu where there is no GPU.

    Raises:
        UserError: it is no device of this machine.
    """
    if asked in (None, "cuda") and not torch.cuda.is_available():
        filled["--device"] = "cpu (no GPU found)"
        return "cpu"
    if asked is not None:
        check_device(asked, "--device")
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
def new_folder(folder: Path, *, trains: bool = True) -> Iterator[None]:
    """Keeps a second run out of a run's folder, and takes the folder back if it is new and the run fails at once.

    A run that has done a step, or left a checkpoint or metrics, keeps its folder.

    Args:
        trains: evaluating needs no lock: what it reads is replaced whole, so a run can be evaluated while it trains.

    Raises:
        UserError: another run is at work there.
    """
    existed = folder.exists()
    leader = os.environ.get("RANK", "0") == "0"  # of processes that train together, one holds the lock
    with locked(folder, LOCK, IN_USE) if trains and leader else contextlib.nullcontext():
        try:
            yield
        except UserError as error:
            used = error.begun or any(next(folder.glob(pattern), None) for pattern in ("*.ckpt", METRICS_FILE))
            if not existed and folder.is_dir() and not used:
                shutil.rmtree(folder)
            raise

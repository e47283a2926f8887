"""Common code of both launchers: exit statuses, filled-in flags, the run's folder, and the call of the host."""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml

from s3prl_gendistiller.cli import arguments, resume
from s3prl_gendistiller.cli.record import record_run
from s3prl_gendistiller.distill.metrics import METRICS_FILE
from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.host import compat_messages
from s3prl_gendistiller.host.devices import check_device
from s3prl_gendistiller.host.failures import explained, user_cause, workers_key
from s3prl_gendistiller.host.lock import locked
from s3prl_gendistiller.host.memory import keep_few_primitives, keep_freed_memory
from s3prl_gendistiller.host.paths import RESOLVED_CONFIG
from s3prl_gendistiller.host.saving import way_on
from s3prl_gendistiller.outputs import check_writable

LOCK = ".run.lock"
IN_USE = "another run trains in that folder; wait until that run has ended, stop it, or give another -n"

OVERRIDES_HELP = """\
-o changes keys of the configuration (-c) for one run; the file stays as it is. An option is config.SECTION.KEY=VALUE,
and ,, separates several:
  -o "{example}"
A VALUE is a number, a text, true, false, null, or a list such as ['a', 'b']; quotes around the whole keep the shell
from reading it. args.FLAG=VALUE changes a flag. `gendistiller config {name}` prints every key and its meaning."""
"""Paragraph of the help of both launchers."""

Host = Callable[[Sequence[str]], None]
"""s3prl's script, called with the completed command. The call is the last one of this process."""
SEED = 1337
"""s3prl's default."""


class Interrupted(KeyboardInterrupt):
    """An interruption by ctrl-C. The message names the command that resumes the run."""


def guarded(main: Callable[[Sequence[str]], int | None], argv: Sequence[str] | None) -> int:
    """Runs `main`. A user's mistake or a full disk becomes one message and exit status 2; ctrl-C gives 130."""
    configure_logging()
    keep_freed_memory()
    os.environ.pop("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", None)  # torch.load would run code in a file
    keep_few_primitives()
    try:
        given = sys.argv[1:] if argv is None else argv
        arguments.refuse_unreadable(given)
        status = main(given) or 0
        sys.stdout.flush()
        return status
    except BrokenPipeError:  # the reader, such as `| head`, has closed the pipe; the flush at exit must not fail on it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141  # as a shell reports SIGPIPE
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
    """The completed call of s3prl's script.

    Attributes:
        config: resolved configuration that is written to `folder` and passed as ``-c``, if any.
        trains: whether the run writes checkpoints.
        read_by: configuration that names the number of worker processes, if another than `config`.
        source: checkpoint or folder that is evaluated; the run records the hash of its content.
        finished: message about a run that has nothing left to do; the host is not called.
        ending: makes the last lines of a run from its folder.
    """

    command: list[str]
    folder: Path
    config: dict[str, Any] | None = None
    trains: bool = True
    read_by: Mapping[str, Any] | None = None
    source: Path | None = None
    finished: str = ""
    ending: Callable[[Path], Iterable[str]] | None = None


Complete = Callable[[argparse.Namespace, str, Path | None, dict[str, str]], HostCall]
"""Function of the arguments, the device, the checkpoint of the run to resume, and the flags filled in so far."""


def run(
    argv: Sequence[str] | None, host: Host, parser: argparse.ArgumentParser, results: Path, complete: Complete
) -> int:
    """Completes a command, logs the filled-in flags, records the command and calls the host.

    Args:
        parser: parser of the command; its epilog is printed above the host's own help.
        results: parent folder of runs that have a name and no folder.
    """
    return guarded(lambda given: _run(given, host, parser, results, complete), argv)


def _run(argv: Sequence[str], host: Host, parser: argparse.ArgumentParser, results: Path, complete: Complete) -> None:
    if {"-h", "--help"} & set(argv):
        compat_messages.choose("--verbose" in argv)
        if parser.epilog:
            print(f"{parser.epilog}\n", flush=True)
        host(["--help"])
    args = parser.parse_args(argv)
    args.overrides = arguments.take_overrides(args, parser)
    compat_messages.choose(args.verbose)
    _check_place(args)
    filled: dict[str, str] = {}
    device = choose_device(args.device, filled)
    named = args.expdir or (results / args.expname if args.expname else None)
    checkpoint = resume.checkpoint_to_resume(args.past_exp, args.auto_resume, named and Path(named), parser.prog)
    if checkpoint is not None:
        filled["-e"] = str(checkpoint)
    elif args.auto_resume and named:
        resume.say_that_it_begins(Path(named))
    call = complete(args, device, checkpoint, filled)
    if call.finished:
        _say(call.finished, *(call.ending(call.folder) if call.ending else ()))
        return
    flag = "-p" if args.expdir is not None else "-e" if args.past_exp is not None else "-n"
    check_writable(call.folder, flag, folder=True)
    readers = workers_key(call.config or call.read_by or {})
    with new_folder(call.folder, trains=call.trains), explained(readers):
        if args.auto_resume and checkpoint is None:
            resume.set_aside(call.folder)
        if filled:
            shown = ", ".join(f"{flag} {value}" for flag, value in filled.items())
            logging.getLogger(__name__).info("filled in: %s", shown)
        record_run(call.folder, argv, SEED if args.seed is None else args.seed, call.source)
        command = call.command
        if call.config is not None:
            command = [*command, "-c", str(write_yaml(call.config, call.folder / RESOLVED_CONFIG))]
        try:
            host(command)
        except KeyboardInterrupt as stop:
            advice = way_on(call.folder, program=f"python {parser.prog} ")
            raise Interrupted(advice if call.trains else "the same command begins again") from stop
    _say(*(call.ending(call.folder) if call.ending else ()))


def _say(*lines: str) -> None:
    for line in lines:
        logging.getLogger(__name__).info("%s", line)


def _check_place(args: argparse.Namespace) -> None:
    """Checks the flags that name the folder of a run."""
    if args.auto_resume and args.past_exp is not None:
        raise UserError(f"-a: found together with -e {args.past_exp}, which names the run to go on with; leave -a out")
    if args.auto_resume and args.expname is None and args.expdir is None:
        raise UserError("-a: found without the name of a run to go on with; give -n or -p as well, or -e in its place")
    for flag, value in (("-n", args.expname), ("-p", args.expdir)):
        if value is not None and args.past_exp is not None:
            raise UserError(
                f"{flag} {value}: found together with -e {args.past_exp}; a run goes on in its own folder, so leave "
                f"{flag} out"
            )


def host_flags(name: str) -> argparse.ArgumentParser:
    """The flags that both scripts of the host have; None stands for a flag that was not given."""
    parser = arguments.Parser(prog=name, add_help=False)
    for flags in ("-e --past_exp", "-c --config", "-u --upstream", "-p --expdir", "--device"):
        parser.add_argument(*flags.split(), type=arguments.text)
    parser.add_argument("-o", "--override")
    parser.add_argument("-n", "--expname", type=arguments.run_name)
    parser.add_argument("-a", "--auto_resume", action="store_true")
    parser.add_argument("--seed", type=arguments.seed)
    return parser


class _Messages(logging.StreamHandler):
    """Writes to the present `sys.stderr`, which may change between two calls in one process."""

    def emit(self, record: logging.LogRecord) -> None:
        self.stream = sys.stderr
        super().emit(record)


def configure_logging() -> None:
    """Sends the log lines of this package to stderr with its name in front; the host's logging stays as it is."""
    package = logging.getLogger("s3prl_gendistiller")
    if not package.handlers:
        handler = _Messages()
        handler.setFormatter(logging.Formatter("[gendistiller] %(message)s"))
        package.addHandler(handler)
        package.setLevel(logging.INFO)
        package.propagate = False


def choose_device(asked: str | None, filled: dict[str, str]) -> str:
    """The device: `asked`, if this machine has it, or s3prl's default cuda, or cpu on a machine without a GPU."""
    if asked in (None, "cuda") and not torch.cuda.is_available():
        filled["--device"] = "cpu (no GPU found)"
        return "cpu"
    if asked is not None:
        check_device(asked, "--device")
    return asked or "cuda"


def new_run(
    args: argparse.Namespace, device: str, filled: dict[str, str], results: Path, name: str, *, trains: bool = True
) -> tuple[Path, list[str]]:
    """The folder of a new run, and the flags of s3prl that name the upstream, the run, the device and the seed.

    Args:
        name: name of a run to which the user gave neither name nor folder.
        trains: whether checkpoints of an earlier run could be overwritten, which is refused.
    """
    if args.expname is None and args.expdir is None:
        args.expname = filled["-n"] = free_name(results, name)
    folder = Path(args.expdir or results / args.expname).absolute()
    if trains:
        resume.refuse_to_overwrite(folder, args.auto_resume)
    command = ["-u", args.upstream, "-n", args.expname or folder.name, "-p", str(folder), "--device", device]
    return folder, [*command, "--seed", str(SEED if args.seed is None else args.seed)]


def given_flags(values: Mapping[str, Any]) -> list[str]:
    """The command-line form of flags by name; None, False and an empty text leave a flag out, True is a switch."""
    given = {flag: value for flag, value in values.items() if value is not None and value is not False and value != ""}
    return [word for flag, value in given.items() for word in ([flag] if value is True else [flag, str(value)])]


def free_name(root: Path, name: str) -> str:
    """The first of `name`, `name-2`, `name-3`, ... that is no folder in `root` yet."""
    candidate, count = name, 1
    while (root / candidate).exists():
        count += 1
        candidate = f"{name}-{count}"
    return candidate


def write_yaml(content: dict[str, Any], path: Path) -> Path:
    """Writes a resolved configuration for the host, which reads neither `base` nor variables."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(content, sort_keys=False, allow_unicode=True), encoding="utf-8")
    return path


@contextlib.contextmanager
def new_folder(folder: Path, *, trains: bool = True) -> Iterator[None]:
    """Locks a run's folder, and deletes a new folder if the run fails before its first step, checkpoint or metrics.

    Args:
        trains: whether the run trains. An evaluation needs no lock: it may read the checkpoints of a run that trains,
            because each file is replaced whole.
    """
    existed = folder.exists()
    leader = os.environ.get("RANK", "0") == "0"  # one of several training processes holds the lock
    with locked(folder, LOCK, IN_USE) if trains and leader else contextlib.nullcontext():
        try:
            yield
        except UserError as error:
            used = error.begun or any(next(folder.glob(pattern), None) for pattern in ("*.ckpt", METRICS_FILE))
            if not existed and folder.is_dir() and not used:
                shutil.rmtree(folder)
            raise

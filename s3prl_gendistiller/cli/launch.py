"""Common code of both launchers: exit statuses, filled-in flags, the run's folder, and the call of the host."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import yaml

from s3prl_gendistiller.cli import arguments, resume, torchrun
from s3prl_gendistiller.cli.messages import configure_logging
from s3prl_gendistiller.cli.record import record_run
from s3prl_gendistiller.cli.run_folder import new_folder
from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.host import compat_messages, meeting
from s3prl_gendistiller.host.devices import check_device
from s3prl_gendistiller.host.failures import explained, user_cause, workers_key
from s3prl_gendistiller.host.memory import keep_few_primitives, keep_freed_memory
from s3prl_gendistiller.host.paths import RESOLVED_CONFIG
from s3prl_gendistiller.host.process_group import choose_device as device_of_rank
from s3prl_gendistiller.host.process_group import joined
from s3prl_gendistiller.host.saving import way_on
from s3prl_gendistiller.outputs import check_writable

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
        _tell(f"error: {error}")
        return 2
    except KeyboardInterrupt as stop:
        _tell(f"stopped; {stop}" if isinstance(stop, Interrupted) else "stopped")
        return 130
    except Exception as error:
        cause, here = user_cause(error), meeting.present()
        if cause is None and here is not None and not here.claim():
            return 1  # another rank has said what is wrong
        if cause is None:
            raise
        _tell(f"error: {cause}")
        return 2


def _tell(text: str) -> None:
    """Writes the message of the end to stderr; of several ranks, the first one does."""
    here = meeting.present()
    if here is None:
        print(text, file=sys.stderr)
    else:
        here.tell(text)


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
        agreed: values by flag that all ranks must have equal.
    """

    command: list[str]
    folder: Path
    config: dict[str, Any] | None = None
    trains: bool = True
    read_by: Mapping[str, Any] | None = None
    source: Path | None = None
    finished: str = ""
    ending: Callable[[Path], Iterable[str]] | None = None
    agreed: Mapping[str, Any] = field(default_factory=dict)


Complete = Callable[[argparse.Namespace, str, Path | None, dict[str, str]], HostCall]
"""Function of the arguments, the device, the checkpoint of the run to resume, and the flags filled in so far."""


def run(
    argv: Sequence[str] | None,
    host: Host,
    parser: argparse.ArgumentParser,
    results: Path,
    complete: Complete,
    *,
    ranks: bool = False,
) -> int:
    """Completes a command, logs the filled-in flags, records the command and calls the host.

    Args:
        parser: parser of the command; its epilog is printed above the host's own help.
        results: parent folder of runs that have a name and no folder.
        ranks: several ranks of torchrun train together; s3prl joins those of its other script itself.
    """

    def begin(given: Sequence[str]) -> None:
        if ranks:
            meeting.enter()
        _run(given, host, parser, results, complete)

    try:
        status = guarded(begin, argv)
        if status and (here := meeting.present()) is not None:
            here.leave()
        return status
    finally:
        meeting.close()


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
    torchrun.settle(args, filled, lambda task: free_name(results, task))
    checkpoint = _checkpoint(args, results, parser.prog)
    if checkpoint is not None:
        filled["-e"] = str(checkpoint)
    elif args.auto_resume and (named := resume.named_folder(args, results)):
        resume.say_that_it_begins(named)
    call = complete(args, device, checkpoint, filled)
    if call.finished:
        _say(call.finished, *(call.ending(call.folder) if call.ending else ()))
        return
    flag = "-p" if args.expdir is not None else "-e" if args.past_exp is not None else "-n"
    if torchrun.leads():
        check_writable(call.folder, flag, folder=True)
    torchrun.agree(device, call.agreed)
    readers = workers_key(call.config or call.read_by or {})
    with new_folder(call.folder, trains=call.trains), explained(readers):
        command = call.command
        if torchrun.leads():
            if args.auto_resume and checkpoint is None:
                resume.set_aside(call.folder)
            command = [*command, *_written(args, call, argv, filled)]
        torchrun.wait("the files of the run")

        def advice() -> str:
            return meeting.again() or way_on(call.folder, program=torchrun.launcher(parser.prog))

        try:
            with joined(meeting.present(), device, advice):
                host(command)
        except KeyboardInterrupt as stop:
            raise Interrupted(advice() if call.trains else "the same command begins again") from stop
    _say(*(call.ending(call.folder) if call.ending and torchrun.leads() else ()))


def _checkpoint(args: argparse.Namespace, results: Path, program: str) -> Path | None:
    """The checkpoint to go on with, if any."""
    folder = resume.named_folder(args, results)
    found = torchrun.chosen(lambda: resume.checkpoint_to_resume(args.past_exp, args.auto_resume, folder, program))
    if found is not None:
        torchrun.without_repeated(args, found)
    return found


def _written(args: argparse.Namespace, call: HostCall, argv: Sequence[str], filled: Mapping[str, str]) -> list[str]:
    """Logs what was filled in, and writes record and configuration of a run; returns the flag that names the latter."""
    if filled:
        shown = ", ".join(f"{flag} {value}" for flag, value in filled.items())
        logging.getLogger(__name__).info("filled in: %s", shown)
    record_run(call.folder, argv, SEED if args.seed is None else args.seed, call.source)
    return [] if call.config is None else ["-c", str(write_yaml(call.config, call.folder / RESOLVED_CONFIG))]


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


def choose_device(asked: str | None, filled: dict[str, str]) -> str:
    """The device: `asked`, if this machine has it, or s3prl's default cuda, or cpu on a machine without a GPU."""
    here = meeting.present()
    if here is not None and here.world > 1:
        return device_of_rank(here, asked, filled)
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

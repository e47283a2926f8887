"""Types of command-line arguments that all commands share: texts, names, numbers, seeds; and the overrides of `-o`."""

from __future__ import annotations

import argparse
import difflib
import math
import typing
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.host.overrides import Overrides, read_overrides, script_flags
from s3prl_gendistiller.schema_values import one_of

MAX_SEED = 2**32 - 1  # numpy's limit
VERBOSE_HELP = "show every message of s3prl and its libraries"
_NAME_BYTES = 200  # a file system takes 255, and names get numbers appended


def add_command(
    subparsers: Any,
    name: str,
    run: Callable[[argparse.Namespace], int],
    about: str,
    description: str,
    examples: str,
    way_on: str = "the same command begins again",
) -> argparse.ArgumentParser:
    """Adds one command of `gendistiller`, whose help keeps the line breaks of `description` and `examples`.

    Args:
        run: function of the read arguments that returns the exit status.
        about: line in the list of all commands.
        way_on: advice to the user after ctrl-C.
    """
    form = argparse.RawDescriptionHelpFormatter
    made = subparsers.add_parser(name, help=about, description=description, epilog=examples, formatter_class=form)
    made.set_defaults(run=run, way_on=way_on)
    # the flag may stand before the command, too, whose value a default would replace
    made.add_argument("-v", "--verbose", action="store_true", default=argparse.SUPPRESS, help=VERBOSE_HELP)
    return typing.cast(argparse.ArgumentParser, made)


class Parser(argparse.ArgumentParser):
    """A parser that raises a mistake as a `UserError` of one line."""

    def error(self, message: str) -> NoReturn:
        unknown = message.removeprefix("unrecognized arguments: ")
        if unknown != message:
            known = [flag for action in self._actions for flag in action.option_strings]
            close = difflib.get_close_matches(unknown.split()[0].split("=")[0], known, n=1, cutoff=0.7)
            hint = f"; did you mean {close[0]}?" if close else ""
            message = f"found {unknown}, which no flag takes{hint}"
        raise UserError(f"{self.prog}: {message}; --help lists all flags")


def refuse_unreadable(argv: Sequence[str]) -> None:
    """Refuses an argument that is not UTF-8 text, so that no file could record it."""
    for number, text in enumerate(argv, start=1):
        try:
            text.encode("utf-8")
        except UnicodeEncodeError as error:
            raise UserError(
                f"argument {number}: found {text.encode('utf-8', 'backslashreplace').decode()!r}, expected UTF-8 text; "
                "rename the file or folder that it names"
            ) from error


def text(given: str) -> str:
    """A printable text of one line."""
    if not given.strip() or not given.isprintable():
        raise argparse.ArgumentTypeError(f"found {given!r}, expected a text of one line")
    return given


def path(given: str) -> Path:
    """A path; an empty one is refused, because it would name the working directory."""
    return Path(text(given))


def name(given: str) -> str:
    """A name of a file or folder, without slashes."""
    text(given)
    if "/" in given or "\\" in given or given.strip(". ") == "" or given != given.strip():
        raise argparse.ArgumentTypeError(f"found {given!r}, expected one name, without slashes")
    if len(given.encode()) > _NAME_BYTES:
        raise argparse.ArgumentTypeError(f"found {len(given.encode())} bytes, expected {_NAME_BYTES} at most")
    return given


def run_name(given: str) -> str:
    """A name of a run below the folder of results; slashes separate folders."""
    for part in given.split("/"):
        name(part)
    return given


def seed(given: str) -> int:
    """A seed that random, numpy and torch all take."""
    return _whole(given, 0, MAX_SEED)


def whole(given: str) -> int:
    """A whole number of 32 bits, also a negative one."""
    return _whole(given, -(2**31), 2**31 - 1)


def count(low: int = 1) -> Callable[[str], int]:
    """A whole number of at least `low`."""
    return lambda given: _whole(given, low, None)


def number(*, above: float | None = None) -> Callable[[str], float]:
    """A finite number, above `above`."""

    def read(given: str) -> float:
        try:
            found = float(given)
        except ValueError:
            found = math.nan
        if not math.isfinite(found) or (above is not None and found <= above):
            raise argparse.ArgumentTypeError(
                f"found {given}, expected a number" + ("" if above is None else f" above {above:g}")
            )
        return found

    return read


def _whole(given: str, low: int, high: int | None) -> int:
    try:
        found = int(given) if len(given) < 20 and given.isascii() and "_" not in given else None
    except ValueError:
        found = None
    if found is None or found < low or (high is not None and found > high):
        limits = f"of at least {low}" if high is None else f"from {low} to {high}"
        raise argparse.ArgumentTypeError(f"found {given[:40]!r}; expected a whole number {limits}")
    return found


def take_overrides(args: argparse.Namespace, parser: argparse.ArgumentParser) -> Overrides:
    """Reads ``-o``; each ``args.FLAG=VALUE`` in it is also set in `args`, converted as by `parser`.

    Raises:
        UserError: a flag is unknown, was also given with another value, has a value of another type, or is read by
            s3prl before ``-o``.
    """
    overrides = read_overrides(args.override, script_flags(parser.prog))
    actions = {action.dest: action for action in parser._actions}
    for name, value in overrides.flags.items():
        if name in ("override", "past_exp", "auto_resume", "backend", "local_rank"):
            raise UserError(f"-o: found args.{name}, which has no effect there; give it as a flag of its own")
        if name not in actions:
            continue
        action, given = actions[name], getattr(args, name)
        if action.nargs == 0 and not isinstance(value, bool):
            raise UserError(f"-o: found {value!r} for args.{name}, expected True or False")
        read = value if action.nargs == 0 or value is None else _read(action, value)
        if given not in (None, False) and given != read:
            flag = action.option_strings[0]
            raise UserError(f"-o: found args.{name}={value} beside {flag} {given}; leave one of them out")
        setattr(args, name, read)
    return overrides


def _read(action: argparse.Action, value: Any) -> Any:
    """The value of a flag, converted by its parser."""
    try:
        read = action.type(str(value)) if callable(action.type) else str(value)
    except argparse.ArgumentTypeError as error:
        raise UserError(f"-o: args.{action.dest}: {error}") from error
    if action.choices is not None and read not in action.choices:
        raise UserError(f"-o: found {value!r} for args.{action.dest}, {one_of(str(value), list(action.choices))}")
    return read

"""What is typed on a command line, read the same way in every command: texts, names, numbers, seeds."""

from __future__ import annotations

import argparse
import difflib
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from s3prl_gendistiller.errors import UserError

MAX_SEED = 2**32 - 1  # numpy's
_NAME_BYTES = 200  # of a folder; file systems take 255, and names get numbers


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, as every other mistake is said."""

    def error(self, message: str) -> NoReturn:
        unknown = message.removeprefix("unrecognized arguments: ")
        if unknown != message:
            known = [flag for action in self._actions for flag in action.option_strings]
            close = difflib.get_close_matches(unknown.split()[0].split("=")[0], known, n=1, cutoff=0.7)
            hint = f"; did you mean {close[0]}?" if close else ""
            message = f"found {unknown}, which no flag takes{hint}"
        raise UserError(f"{self.prog}: {message}; --help lists all flags")


def refuse_unreadable(argv: Sequence[str]) -> None:
    """
    Raises:
        UserError: an argument is not UTF-8 text, which no file that is written here could hold.
    """
    for number, text in enumerate(argv, start=1):
        try:
            text.encode("utf-8")
        except UnicodeEncodeError as error:
            raise UserError(
                f"argument {number}: found {text.encode('utf-8', 'backslashreplace').decode()!r}, expected UTF-8 text; "
                "rename the file or folder that it names"
            ) from error


def text(given: str) -> str:
    """Anything that can be read in one line."""
    if not given.strip() or not given.isprintable():
        raise argparse.ArgumentTypeError(f"found {given!r}, expected a text of one line")
    return given


def path(given: str) -> Path:
    """Of a file or folder; an empty one would be the working directory."""
    return Path(text(given))


def name(given: str) -> str:
    """Of a file or folder that is made below another one."""
    text(given)
    if "/" in given or "\\" in given or given.strip(". ") == "" or given != given.strip():
        raise argparse.ArgumentTypeError(f"found {given!r}, expected one name, without slashes")
    if len(given.encode()) > _NAME_BYTES:
        raise argparse.ArgumentTypeError(f"found {len(given.encode())} bytes, expected {_NAME_BYTES} at most")
    return given


def run_name(given: str) -> str:
    """Of a run below the folder of results; with slashes, a run in folders of its own there."""
    for part in given.split("/"):
        name(part)
    return given


def seed(given: str) -> int:
    """What random, numpy and torch all take."""
    return _whole(given, 0, MAX_SEED)


def count(low: int = 1) -> Callable[[str], int]:
    """A whole number from `low` on."""

    def read(given: str) -> int:
        return _whole(given, low, None)

    return read


def number(*, above: float | None = None, high: float | None = None) -> Callable[[str], float]:
    """A finite number in a range."""

    def read(given: str) -> float:
        try:
            found = float(given)
        except ValueError:
            found = math.nan
        if not math.isfinite(found) or (above is not None and found <= above) or (high is not None and found > high):
            limits = [f"above {above:g}"] if above is not None else []
            limits += [f"{high:g} at most"] if high is not None else []
            raise argparse.ArgumentTypeError(f"found {given}, expected a number {', '.join(limits)}".rstrip())
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


def whole(given: str) -> int:
    """Any whole number, also a negative one."""
    return _whole(given, -(2**31), 2**31 - 1)


def typed(args: argparse.Namespace, flags: dict[str, str]) -> list[tuple[str, Any]]:
    """Those of `flags` (destination: flag) that were given, with their values."""
    found = [(flag, getattr(args, destination)) for destination, flag in flags.items()]
    return [(flag, value) for flag, value in found if value is not None and value is not False]

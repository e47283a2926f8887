"""Errors in a user's input, as opposed to bugs.

Every launcher and command catches `UserError`, prints its message without a traceback and exits with
status 2. A message names what was found, what was expected and what to do.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

_NAMED = 3
SHOWN = 40  # problems of one file in one message


class UserError(Exception):
    """An input that cannot be used; the person who typed it reads the message.

    Many messages quote a file, so control characters are escaped. A DataLoader raises an error of its worker process
    again with the traceback as its text; only the message is kept.

    Attributes:
        begun: whether training had begun; the run's folder is kept then.
    """

    begun = False

    def __init__(self, message: str) -> None:
        if message.startswith("Caught "):
            message = message.rpartition("errors.UserError: ")[2].rstrip()
        super().__init__(message)

    def __str__(self) -> str:
        text = super().__str__()
        return "".join(sign if sign.isprintable() or sign == "\n" else repr(sign)[1:-1] for sign in text)


class ConfigError(UserError):
    """Every problem of the configuration in `source`, each a line of the form ``key: found; expected; remedy``."""

    def __init__(self, source: str, problems: Sequence[str]) -> None:
        self.source = source
        self.problems = tuple(problems)
        count = f"{len(problems)} problem" + ("s" if len(problems) != 1 else "")
        super().__init__("\n  ".join([f"{source}: {count}", *shortened(problems, SHOWN)]))


def shortened(lines: Sequence[str], most: int) -> list[str]:
    """The first `most` lines, and a line with the number of the others."""
    return [*lines[:most], *([f"and {len(lines) - most} more"] if len(lines) > most else [])]


def few(names: Iterable[object]) -> str:
    """The first names, and the number of the others."""
    listed = [str(name) for name in names]
    more = f" and {len(listed) - _NAMED:,} more" if len(listed) > _NAMED else ""
    return ", ".join(listed[:_NAMED]) + more

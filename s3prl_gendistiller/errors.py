"""What goes wrong through a user's input, as opposed to a bug of ours.

Every launcher and command catches `UserError`, prints its message without a traceback and exits with
status 2. A message names what was found, what was expected and what to do.
"""

from __future__ import annotations

from collections.abc import Sequence


class UserError(Exception):
    """An input that cannot be used; the message is meant to be read by the person who typed it.

    What it quotes of that input cannot reach the terminal as a command: control characters are shown as they are typed.
    """

    def __str__(self) -> str:
        text = super().__str__()
        return "".join(one if one.isprintable() or one in "\n\t" else ascii(one)[1:-1] for one in text)


class ConfigError(UserError):
    """Every problem of one configuration, reported together.

    Args:
        source: the file (or other origin) that holds the configuration.
        problems: one line each, already in the form ``key: found; expected; remedy``.
    """

    def __init__(self, source: str, problems: Sequence[str]) -> None:
        self.source = source
        self.problems = tuple(problems)
        count = f"{len(problems)} problem" + ("s" if len(problems) != 1 else "")
        super().__init__("\n  ".join([f"{source}: {count}", *problems]))

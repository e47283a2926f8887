"""Stand-ins for what Python 3.12 removed or forbids: the function of distutils that s3prl uses, and threads at exit.

This module stands for `atexit` in a library that starts a thread at the end of a process.
"""

from __future__ import annotations

import atexit
import functools
from collections.abc import Callable
from typing import Any

TRUE_WORDS = ("y", "yes", "t", "true", "on", "1")
FALSE_WORDS = ("n", "no", "f", "false", "off", "0")


def register(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Callable[..., Any]:
    """`atexit.register` of a function that ends without a message if it can start no thread."""

    @functools.wraps(function)
    def last() -> None:
        try:
            function(*args, **kwargs)
        except RuntimeError as refused:
            if "new thread at interpreter shutdown" not in str(refused):
                raise

    atexit.register(last)
    return function


def strtobool(val: str) -> int:
    """1 for a word for yes, 0 for a word for no; ValueError for any other word."""
    word = val.lower()
    if word in TRUE_WORDS:
        return 1
    if word in FALSE_WORDS:
        return 0
    raise ValueError(f"expected one of {', '.join(TRUE_WORDS + FALSE_WORDS)}, found {val!r}")

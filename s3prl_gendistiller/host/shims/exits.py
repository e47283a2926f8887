"""`atexit` for a library whose functions at the end of a process start a thread, which Python 3.12 refuses there."""

from __future__ import annotations

import atexit
import functools
from collections.abc import Callable
from typing import Any


def register(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Callable[..., Any]:
    """As `atexit.register`; a thread that cannot be started any more is nothing to report."""

    @functools.wraps(function)
    def last() -> None:
        try:
            function(*args, **kwargs)
        except RuntimeError as refused:
            if "new thread at interpreter shutdown" not in str(refused):
                raise

    atexit.register(last)
    return function

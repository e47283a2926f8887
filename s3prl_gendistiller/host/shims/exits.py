"""`atexit` for a library that starts a thread at the end of a process, which Python 3.12 forbids."""

from __future__ import annotations

import atexit
import functools
from collections.abc import Callable
from typing import Any


def register(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Callable[..., Any]:
    """`atexit.register` of a function that ends silently if it can start no thread."""

    @functools.wraps(function)
    def last() -> None:
        try:
            function(*args, **kwargs)
        except RuntimeError as refused:
            if "new thread at interpreter shutdown" not in str(refused):
                raise

    atexit.register(last)
    return function

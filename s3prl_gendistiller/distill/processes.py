"""Processes that end with the one that started them, however that one ended."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from typing import Any


def end_with_parent() -> None:
    """For a process that multiprocessing started, at its beginning: it ends as soon as its parent has.

    A worker of a pool waits for work for ever when its parent was killed: it holds the other end of its queue itself.
    """
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_after, args=(parent,), daemon=True).start()


def serve_parent() -> None:
    """`end_with_parent` for a worker whose parent ends it on ctrl-C, which the terminal sends to both."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent()


def _end_after(parent: Any) -> None:
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)

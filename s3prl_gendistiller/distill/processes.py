"""Worker processes that end together with their parent process, however the parent ends."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from typing import Any


def end_with_parent() -> None:
    """Ends this process as soon as its parent has ended; called first in a process that multiprocessing starts.

    Otherwise a pool's worker whose parent was killed waits for ever: the worker itself keeps its queue open.
    """
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_after, args=(parent,), daemon=True).start()


def follow_parent() -> None:
    """Ends with the parent, and ignores ctrl-C.

    The terminal sends ctrl-C to parent and worker, and the parent ends the worker.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent()


def _end_after(parent: Any) -> None:
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)

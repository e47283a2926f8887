"""What stands for run_downstream.py on hosts: commands that import neither torch nor s3prl."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path


def say(arguments: Sequence[str]) -> int:
    print(*arguments, os.environ.get("SUPERB_DATA"), os.environ["OMP_NUM_THREADS"], os.getcwd(), flush=True)
    print("a message", file=sys.stderr, flush=True)
    return 0


def fail(arguments: Sequence[str]) -> int:
    print("noise\nerror: -k: nothing there", file=sys.stderr, flush=True)
    return 2


def be_killed(arguments: Sequence[str]) -> int:
    """As the kernel does where memory is short."""
    os.kill(os.getpid(), signal.SIGKILL)
    return 0


def wait_for_a_file(arguments: Sequence[str]) -> int:
    print("began", flush=True)
    while not Path(arguments[-1]).exists():
        time.sleep(0.01)
    return 0

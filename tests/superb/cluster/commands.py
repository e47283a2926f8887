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


def train(arguments: Sequence[str]) -> int:
    """Stands for a training that goes on from its newest checkpoint, which holds its step.

    Args:
        arguments: the folder, the number of steps, the seconds of each step, then anything.
    """
    folder, steps, pause = Path(arguments[0]), int(arguments[1]), float(arguments[2])
    done = max((int(path.stem.partition("-")[2]) for path in folder.glob("states-*.ckpt")), default=0)
    print(f"begins after {done}", flush=True)
    for step in range(done + 1, steps + 1):
        time.sleep(pause)
        print(f"step {step}", flush=True)
        part = folder / f".states-{step}.part"
        part.touch()
        part.rename(folder / f"states-{step}.ckpt")
    print("trained", flush=True)
    return 0


def be_killed_after_a_step(arguments: Sequence[str]) -> int:
    """Saves one checkpoint each time; the last one of `arguments[1]` is followed by the end."""
    folder, steps = Path(arguments[0]), int(arguments[1])
    done = len(list(folder.glob("states-*.ckpt")))
    (folder / f"states-{done + 1}.ckpt").touch()
    if done + 1 < steps:
        os.kill(os.getpid(), signal.SIGKILL)
    return 0

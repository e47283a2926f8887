"""What stands for run_downstream.py in a suite on hosts: it sleeps, saves checkpoints, and counts what it has done.

Lines of the file `counts` in the suite's folder: a checkpoint that was saved, a training or test that has ended.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

STEPS = 6
COUNTS, MADE, PAUSE, GATE = "counts", "MADE_CHECKPOINTS", "PAUSE_S", "GATE"
GATED_STEP = 3
"""Before it a training waits for the file `GATE`, if the environment names one."""


def main(arguments: Sequence[str]) -> int:
    given = dict(zip(arguments, arguments[1:], strict=False))
    folder = Path(given["-p"] if "-p" in given else given["-e"]).absolute()
    folder = folder if folder.is_dir() or "-p" in given else folder.parent
    pause = float(os.environ[PAUSE])
    if given["-m"] == "train":
        return _train(folder, pause)
    time.sleep(pause)
    print("test acc: 0.75", flush=True)
    for name in ("predict", "truth"):
        (folder / f"test_{name}.txt").write_text("a 1\n")
    _count(folder, "tested")
    return 0


def _train(folder: Path, pause: float) -> int:
    folder.mkdir(parents=True, exist_ok=True)
    done = max((int(path.stem.partition("-")[2]) for path in folder.glob("states-*.ckpt")), default=0)
    for step in range(done + 1, STEPS + 1):
        time.sleep(pause)
        while step == GATED_STEP and GATE in os.environ and not Path(os.environ[GATE]).exists():
            time.sleep(0.05)
        print(f"dev acc: 0.{step}", flush=True)
        for name in (f"states-{step}.ckpt", "dev-best.ckpt"):
            shutil.copy(Path(os.environ[MADE]) / f"states-{step}.ckpt", folder / f".{name}.part")
            (folder / f".{name}.part").rename(folder / name)
        _count(folder, f"saved {step}")
    _count(folder, "trained")
    time.sleep(pause)
    return 0


def _count(folder: Path, what: str) -> None:
    with (folder.parents[2] / COUNTS).open("a") as file:
        file.write(f"{folder.parent.name} {folder.name} {what}\n")

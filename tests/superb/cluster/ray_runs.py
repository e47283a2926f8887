"""What stands for run_downstream.py on nodes of Ray, and a controlling process of such runs.

python -m tests.superb.cluster.ray_runs ADDRESS FOLDER STEPS...    # a training in runs/N for each number
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import ray  # the main script of a worker imports it, too

from s3prl_gendistiller.superb.cluster.engine import ClusterEngine
from s3prl_gendistiller.superb.cluster.host_run import Order
from s3prl_gendistiller.superb.cluster.ray_engine import Ray
from tests.superb.cluster import commands

PLACE = "tests.superb.cluster.ray_runs"
PAUSE_S = 0.2


def say(arguments: Sequence[str]) -> int:
    print(f"forked by {os.getppid()}", flush=True)
    return commands.say(arguments)


def train(arguments: Sequence[str]) -> int:
    print(f"on {os.environ.get('NODE')}", flush=True)
    return commands.train(arguments)


def engine(cluster: Ray, folder: Path, command: str) -> ClusterEngine:
    template = Order("", f"{PLACE}:{command}", (), "", 1, str(folder), imported=PLACE)
    return ClusterEngine(cluster, template, poll_s=0.05, late_s=1.0)


def log_of(folder: Path, number: int) -> Path:
    return folder / f"runs/{number}/superb_train.log"


def training(launch: ClusterEngine, folder: Path, number: int, steps: int) -> None:
    """One run of `train`, as `run_suite` starts it."""
    log = log_of(folder, number)
    log.parent.mkdir(parents=True, exist_ok=True)
    launch([str(log.parent), str(steps), str(PAUSE_S), "-a"], log)


def main(address: str, folder: str, *steps: str) -> None:
    cluster = Ray(address)
    cluster.require()
    launch = engine(cluster, Path(folder), "train")
    given = [(launch, Path(folder), number, int(total)) for number, total in enumerate(steps)]
    threads = [threading.Thread(target=training, args=one) for one in given]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    cluster.close()
    print("done", flush=True)


if __name__ == "__main__":
    assert ray
    main(*sys.argv[1:])

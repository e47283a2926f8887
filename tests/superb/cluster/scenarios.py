"""What may happen to jobs and controllers, in one process; `python -m ... KIND FOLDER NAME...` prints what came of it.

KIND is submitit's executor. Each scenario has a suite of its own, of two models and two tasks.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

from tests.superb.cluster.controllers import Controllers, descendants, wait_until
from tests.superb.cluster.downstream import GATE


def kills(controllers: Controllers, seed: int = 1, number: int = 20) -> dict[str, Any]:
    """Jobs and controllers are killed in a random order, as many of each; then the command is given once more."""
    drawn = random.Random(seed)
    order = ["job", "controller"] * (number // 2)
    drawn.shuffle(order)
    killed: Counter[str] = Counter()
    interrupted: set[str] = set()
    controllers.start()

    def at_risk() -> dict[str, str]:
        return {job: at for job, at in controllers.in_training().items() if at not in interrupted}

    for what in order:
        if what == "job":
            wait_until(lambda: bool(at_risk()) or controllers.has_ended())
            if not (jobs := at_risk()):
                break
            job = drawn.choice(sorted(jobs))
            interrupted.add(jobs[job])  # a training is not killed again before it has saved another checkpoint
            controllers.kill_job(job)
        else:
            time.sleep(drawn.uniform(0.2, 0.8))
            if controllers.has_ended():
                break
            controllers.end(signal.SIGKILL)
            controllers.start()
        killed[what] += 1
    return {"killed": killed, **_to_the_end(controllers)}


def few_kills(controllers: Controllers) -> dict[str, Any]:
    return kills(controllers, seed=2, number=6)


def stopped(controllers: Controllers) -> dict[str, Any]:
    """Ctrl-C while two jobs run, a second controller beside the first, and the same command again."""
    gate = controllers.out.with_name("gate")
    os.environ[GATE] = str(gate)
    controllers.start()
    wait_until(lambda: len(controllers.in_training()) == 2)
    first = controllers.process
    controllers.said()
    controllers.start()
    second = {"status": controllers.wait(), "said": controllers.said()}
    controllers.process = first
    jobs = sorted(controllers.tickets().values())
    status = controllers.end(signal.SIGINT)
    said = controllers.said()
    saved = len(controllers.counts())
    gate.touch()
    wait_until(lambda: len(controllers.counts()) > saved)  # the jobs go on
    del os.environ[GATE]
    return {"second": second, "jobs": jobs, "stop": {"status": status, "said": said}, **_to_the_end(controllers)}


def noticed(controllers: Controllers) -> dict[str, Any]:
    """The cluster takes the hosts of two jobs back, and says so before; for submitit's local executor."""
    gate = controllers.out.with_name("gate")
    os.environ[GATE] = str(gate)
    controllers.start()
    wait_until(lambda: len(controllers.in_training()) == 2)
    jobs = sorted(controllers.tickets().values())
    controllers.said()
    for job in jobs:
        for process in descendants(int(job)):  # as SLURM does, to all processes of the job
            os.kill(process, signal.SIGUSR2)
    logs = list(controllers.tickets())
    wait_until(lambda: all(log.read_text().count("$ run_downstream.py") == 2 for log in logs))
    same = sorted(controllers.tickets().values()) == jobs
    gate.touch()
    del os.environ[GATE]
    found = _to_the_end(controllers)
    return {"same": same, "said": controllers.said(), **found}


def refused(controllers: Controllers) -> dict[str, Any]:
    """A partition that does not exist, more memory than any host has, no SLURM, and jobs that are still in flight."""
    found = {}
    for name, more in (
        ("partition", ("--partition", "nope")),
        ("memory", ("--memory-per-run", "900T")),
        ("option", ("--slurm", "qos=nope", "constraint=none")),
    ):
        controllers.start(*more)
        found[name] = {"status": controllers.wait(), "said": controllers.said()}
    path = os.environ["PATH"]
    os.environ["PATH"] = "/nowhere"
    controllers.start()
    found["path"] = {"status": controllers.wait(), "said": controllers.said()}
    os.environ["PATH"] = path
    found["made"] = {"status": 0, "said": " ".join(map(str, controllers.out.glob("runs/*")))}
    return found


def unseen(controllers: Controllers) -> dict[str, Any]:
    """A host that does not see the folder of the suite."""
    controllers.start("--tasks", "ks", "--max-jobs", "1")
    return {"status": controllers.wait(), "said": controllers.said(), "counts": controllers.counts()}


def _to_the_end(controllers: Controllers) -> dict[str, Any]:
    """Starts the controller if it has ended, waits for its end, and gives the command once more."""
    if controllers.process and not _is_running(controllers):
        controllers.start()
    status, before = controllers.wait(), controllers.counts()
    left = [path.name for path in controllers.out.rglob("superb_*.json")]
    answers = len(list(controllers.out.glob(".superb_probe.answer-*.json")))
    controllers.start()
    again = controllers.wait()
    found = {"status": [status, again], "unchanged": before == controllers.counts(), "left": left}
    return {**found, "counts": before, "answers": answers}


def _is_running(controllers: Controllers) -> bool:
    try:
        os.waitid(os.P_PID, controllers.process, os.WEXITED | os.WNOWAIT | os.WNOHANG)
    except ChildProcessError:  # waited for before
        return False
    return True


SCENARIOS = {made.__name__: made for made in (kills, few_kills, stopped, noticed, refused, unseen)}

if __name__ == "__main__":
    kind, folder, *names = sys.argv[1:]
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a program in the background of a shell ignores it
    print(json.dumps({name: SCENARIOS[name](Controllers(kind, Path(folder) / name)) for name in names}))

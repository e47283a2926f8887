"""The handover of a further command to a job that has ended its own.

A job imports torch and s3prl for its first command, and a test would wait in the queue again after its training. So a
job that has ended a command offers itself for a few seconds: a file in the folder of jobs. A controller that renames
this file has the job, and writes the order of the next command beside it. Renaming is atomic on network disks too, so
either the controller has the job, or the job has closed.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from s3prl_gendistiller.documents import read_json
from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.outputs import write_text
from s3prl_gendistiller.superb.cluster.host_run import Order

OFFER_S = 15.0
"""How long a job offers itself; its GPU is idle meanwhile."""
SHARED_S = 600.0
"""Age up to which a job takes commands of any run, later those of its own run alone, so that a time limit is that of
about one run."""
DELIVERED_WITHIN_S = 90.0  # a network disk shows a new file late
_POLL_S = 0.1
_OFFER, _TAKEN, _ORDER = ".offer.json", ".taken", ".order.json"


def orders(first: Order, folder: Path, job: str) -> Iterator[Order]:
    """The orders of a job, one after the other.

    Args:
        folder: folder of jobs, which the controller sees.
        job: number of the job.
    """
    began, order = time.monotonic(), first
    while True:
        yield order
        own = str(Path(order.log).parent) if time.monotonic() - began > SHARED_S else ""
        found = _offered(folder, job, own)
        if found is None:
            return
        # what to run is the job's own; the file tells only with which arguments
        order = replace(first, order=found["order"], arguments=tuple(found["arguments"]), log=found["log"])


def hand_over(order: Order, folder: Path) -> str | None:
    """Gives an order to a job that offers itself, and returns the job's number; None if there is none."""
    for path in sorted(folder.glob(f"*{_OFFER}")):
        job = path.name.removesuffix(_OFFER)
        try:
            offer = read_json(path)
            if not isinstance(offer, dict) or offer.get("folder") not in ("", str(Path(order.log).parent)):
                continue
            if time.time() - path.stat().st_mtime > OFFER_S:
                path.unlink()  # of a job that was killed meanwhile
                continue
            path.rename(folder / f"{job}{_TAKEN}")
        except (OSError, UserError):  # closed, or taken by another thread
            continue
        content = {"order": order.order, "arguments": list(order.arguments), "log": order.log}
        write_text(folder / f"{job}{_ORDER}", json.dumps(content) + "\n")
        return job
    return None


def _offered(folder: Path, job: str, own: str) -> dict[str, Any] | None:
    """Offers a job, and returns the content of the order that is given to it, if any."""
    offer, delivered = folder / f"{job}{_OFFER}", folder / f"{job}{_ORDER}"
    write_text(offer, json.dumps({"folder": own}) + "\n")
    until = time.monotonic() + OFFER_S
    while time.monotonic() < until and offer.exists():
        time.sleep(_POLL_S)
    try:
        os.unlink(offer)
        return None
    except FileNotFoundError:  # taken
        until = time.monotonic() + DELIVERED_WITHIN_S
    while not delivered.exists():
        if time.monotonic() > until:  # the controller was killed before it wrote the order
            return None
        time.sleep(_POLL_S)
    content: dict[str, Any] = read_json(delivered)
    (folder / f"{job}{_TAKEN}").unlink(missing_ok=True)
    delivered.unlink()
    return content

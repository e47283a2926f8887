"""Runs as tasks of a Ray cluster that the user has started: several hosts without a batch system.

Ray places each run, and repeats a run whose host died; the run goes on from its checkpoint. Tasks end with the
controlling process, so that a new one finds no job in flight. The hosts share the suite's folder, where logs, endings
and checkpoints are.
"""

from __future__ import annotations

import contextlib
import functools
import os
import secrets
import socket
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.host.paths import VARIABLE
from s3prl_gendistiller.superb.cluster import probe
from s3prl_gendistiller.superb.cluster.host_run import Order, run_on_host
from s3prl_gendistiller.superb.cluster.ray_connection import OwnThreads, connect, first_line, listens
from s3prl_gendistiller.superb.cluster.ticket import give_up

if TYPE_CHECKING:
    from s3prl_gendistiller.superb.suite.suite import Suite

PROBE_S = 90.0  # Ray first starts a worker on the node
HEARTBEAT_S, LOST_S = 5.0, 30.0  # Ray itself ends the controlling process 60 s after its head was lost
HOST_DEATHS = 10
"""How often Ray repeats one run because its host died."""
IMPORTED = "s3prl_gendistiller.superb.cluster.ray_imports"


@dataclass(frozen=True)
class Node:
    """A node of a Ray cluster.

    Attributes:
        host: name for messages, and for the answer to a probe.
        resources: amounts by Ray's names.
    """

    identity: str
    host: str
    resources: dict[str, float]


class Ray:
    """`engine.Cluster` over Ray.

    Args:
        address: HOST:PORT of Ray's head; None for RAY_ADDRESS, or the Ray that runs on this host.
        cpus, gpus: of each run.
        memory: bytes of each run that Ray counts; None to count none.
    """

    name = "ray"

    def __init__(self, address: str | None, cpus: int = 1, gpus: float = 0, memory: int | None = None) -> None:
        self.address, self._asked = address, {"CPU": cpus, "GPU": gpus, "memory": memory or 0}
        self._refs: dict[str, Any] = {}
        self._orders: list[Order] = []
        self._lost = threading.Event()
        self._closed = threading.Event()
        self._quiet = contextlib.ExitStack()
        self._connected = threading.RLock()  # no call of Ray's while its connection is ended
        self._sent: probe.Probe | None = None

    def describe(self) -> str:
        """The resources of a run, in words."""
        parts = [f"{self._asked['CPU']} CPU", f"{self._asked['GPU']} GPU"]
        if self._asked["memory"]:
            parts.append(f"{self._asked['memory'] / 1e9:g} GB")
        head = self.address or "head of RAY_ADDRESS or of this host"
        return f"each run a task of Ray ({head}): {', '.join(parts)}"

    def require(self) -> None:
        """Connects to the cluster; UserError if it does not answer, is of another version, or has no room for a run."""
        connect(self.address)
        if not self.slots():
            has = "; ".join(f"{node.host}: {_amounts(node.resources)}" for node in _nodes())
            remedy = "start nodes with more, or ask for less for each run"
            raise UserError(f"--cluster ray: no node has {_amounts(self._asked)} for a run; found {has}; {remedy}")

    def slots(self) -> int:
        """Number of runs that the nodes hold at a time; 0 before `require` has connected to them."""
        return sum(self._held_by(node) for node in _nodes())

    def prepare(self, suite: Suite) -> None:
        """Compares every node that can hold a run with a probe; UserError that names all problems of all nodes."""
        reads = probe.needed(suite, os.environ.get(VARIABLE))
        with probe.laid(suite.out, reads, suite.cache) as sent:
            probe.refuse(_probed([node for node in _nodes() if self._held_by(node)], sent))
            self._sent = sent
        self._quiet.enter_context(contextlib.redirect_stdout(OwnThreads(sys.stdout)))
        threading.Thread(target=self._watch, daemon=True).start()

    def submit(self, order: Order) -> str:
        """`Cluster.submit`."""
        job = secrets.token_hex(4)
        with self._connected:
            self._require_head()
            if self._closed.is_set():
                raise UserError("was not started, because the suite was stopped")
            self._refs[job] = self._task.options(name="/".join(Path(order.log).parts[-3:])).remote(self._sent, order)
            self._orders.append(order)
        return job

    def gone(self, job: str, since: float) -> str | None:
        """`Cluster.gone`; UserError if Ray's head was lost."""
        import ray

        with self._connected:
            self._require_head()
            if self._closed.is_set():
                return None
            ref = self._refs.get(job)
            if ref is None:
                return "it ended with the process that started it"
            if not ray.wait([ref], timeout=0)[0]:
                return None
            try:
                return f"its task returned {ray.get(ref)}"
            except Exception as error:  # Ray's own, or one that was raised on the host
                return first_line(error)

    @functools.cached_property
    def _task(self) -> Any:
        import ray

        options: dict[str, Any] = {"num_cpus": self._asked["CPU"], "num_gpus": self._asked["GPU"]}
        if self._asked["memory"]:
            options["memory"] = self._asked["memory"]
        # max_calls: a worker that ran on a GPU is used again, since only its child process has touched the GPU
        return ray.remote(**options, max_retries=HOST_DEATHS, max_calls=0)(run_compared)

    def advice(self, job: str) -> str:
        """`Cluster.advice`."""
        return "Ray's messages are in the logs of its nodes (/tmp/ray/session_latest/logs)"

    def stopped(self, job: str) -> str:
        """`Cluster.stopped`."""
        return "was ended, because the suite was stopped"

    def cancelling(self, jobs: Sequence[str]) -> str:
        """`Cluster.cancelling`: no task goes on."""
        return ""

    def close(self) -> None:
        """Ends the tasks and their connection; the cluster stays as it is."""
        import ray

        first = not self._closed.is_set()
        self._closed.set()
        self._quiet.close()
        if self._lost.is_set() or not first:
            return  # whether tasks go on without their head is not known
        with self._connected:
            with contextlib.suppress(Exception):  # a head that was just lost
                for ref in self._refs.values():
                    ray.cancel(ref, force=True)
            ray.shutdown()
        for order in self._orders:
            give_up(Path(order.log), order.order)

    def _held_by(self, node: Node) -> int:
        wanted = {name: amount for name, amount in self._asked.items() if amount}
        return int(min(node.resources.get(name, 0.0) / amount for name, amount in wanted.items()))

    def _require_head(self) -> None:
        if self._lost.is_set():
            found = f"Ray's head, or the Ray of this host, has not answered for {LOST_S:g} s"
            raise UserError(f"{found}; start Ray again, then repeat the same command")

    def _watch(self) -> None:
        """Notices that Ray's head, or the node of this host, was lost, before Ray ends this process."""
        import ray

        here = ray.get_runtime_context()
        address, own, silent = here.gcs_address, here.get_node_id(), 0.0
        while not self._closed.wait(HEARTBEAT_S) and silent < LOST_S:
            answers = listens(address, HEARTBEAT_S) and any(node.identity == own for node in _nodes())
            silent = 0.0 if answers else silent + HEARTBEAT_S
        if silent >= LOST_S:
            self._lost.set()
            with self._connected:
                ray.shutdown()  # otherwise Ray ends this process, before it can write what it has


def run_compared(sent: probe.Probe | None, order: Order) -> int:
    """On a node: `run_on_host`; UserError if the node, which may have joined late, lacks something."""
    if sent is not None and (found := probe.problems(sent, socket.gethostname())):
        raise UserError("; ".join(found))
    return run_on_host(order)


def _nodes() -> list[Node]:
    """The nodes that are alive."""
    import ray

    found: list[Node] = []
    if not ray.is_initialized():
        return found
    for node in ray.nodes():
        if node["Alive"]:
            identity = node["NodeID"]
            host = f"{node['NodeManagerHostname']} ({node['NodeManagerAddress']}, Ray's node {identity[:8]})"
            found.append(Node(identity, host, dict(node["Resources"])))
    return sorted(found, key=lambda node: node.host)


def _probed(nodes: Sequence[Node], sent: probe.Probe) -> list[str]:
    """The problems of nodes, one line each."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    asked = []
    for node in nodes:
        there = NodeAffinitySchedulingStrategy(node_id=node.identity, soft=False)
        task: Any = ray.remote(probe.problems).options(num_cpus=0, max_retries=0, scheduling_strategy=there)
        asked.append((node, task.remote(sent, node.host, probe.SEEN_WITHIN_S)))
    ray.wait([ref for _, ref in asked], num_returns=len(asked), timeout=PROBE_S)
    return [line for node, ref in asked for line in _answer(node, ref, sent)]


def _answer(node: Node, ref: Any, sent: probe.Probe) -> list[str]:
    import ray

    try:
        found = list(ray.get(ref, timeout=0))
    except ray.exceptions.GetTimeoutError:
        return [f"{node.host}: has not answered within {PROBE_S:g} s; look at it with `ray status`, or end that node"]
    except Exception as error:  # such as an import that fails on the node
        if node.identity not in {one.identity for one in _nodes()}:
            return []  # it has left the cluster meanwhile
        remedy = "install the same s3prl-gendistiller there, for the Python that `ray start` ran with"
        return [f"{node.host}: cannot run this package ({first_line(error)}); {remedy}"]
    return found or probe.answered(sent, node.host, probe.SEEN_WITHIN_S)


def _amounts(resources: dict[str, Any]) -> str:
    return ", ".join(f"{resources.get(name, 0):g} {name}" for name in ("CPU", "GPU"))

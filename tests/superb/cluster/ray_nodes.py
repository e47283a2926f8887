"""A Ray cluster of several nodes on this machine, as `ray start` makes one on several hosts."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT

START = ("-c", "from ray.scripts.scripts import main; main()", "start", "--node-ip-address", "127.0.0.1", "--block")
START += ("--disable-usage-stats", "--object-store-memory", str(80 * 2**20))
UP_WITHIN_S = 60.0


class Nodes:
    """Starts nodes; `end` ends the processes of all of them, and no other Ray of this machine."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="ray", dir="/tmp"))  # short, since sockets lie in it
        self.address = f"127.0.0.1:{free_port()}"
        self.named: dict[str, subprocess.Popen[bytes]] = {}  # by the variable NODE
        self._groups: list[subprocess.Popen[bytes]] = []

    def start_head(self, cpus: int = 0) -> None:
        port = self.address.rpartition(":")[2]
        self._start("--head", "--port", port, "--num-cpus", str(cpus), "--temp-dir", str(self.folder / "t"))

    def start(self, cpus: int = 1, **environment: str) -> subprocess.Popen[bytes]:
        """A further node.

        Args:
            environment: variables of its processes, and of the runs there.
        """
        made = self._start("--address", self.address, "--num-cpus", str(cpus), **environment)
        self.named[environment.get("NODE", "")] = made
        return made

    def _start(self, *arguments: str, **environment: str) -> subprocess.Popen[bytes]:
        given = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **environment}
        given["RAY_worker_niceness"] = "0"  # Ray's workers let all other programs go first, and tests have time limits
        given.pop("RAY_ADDRESS", None)
        dashboard = ("--include-dashboard", "false") if "--head" in arguments else ()
        command = [sys.executable, *START, *arguments, *dashboard]
        said = self.folder / f"start{len(self._groups)}.log"
        with said.open("ab") as log:
            made = subprocess.Popen(command, env=given, stdout=log, stderr=log, start_new_session=True)
        self._groups.append(made)
        wait_until(lambda: "Ray runtime started" in said.read_text())  # two nodes that start at once take one port
        return made

    def kill_raylet(self, node: subprocess.Popen[bytes]) -> None:
        """Kills what connects a node with Ray; its workers notice."""
        os.kill(process_of(node, "raylet/raylet"), signal.SIGKILL)

    def kill_head(self) -> None:
        """Kills what all nodes connect to."""
        os.kill(process_of(self._groups[0], "gcs/gcs_server"), signal.SIGKILL)

    def end(self) -> None:
        for group in reversed(self._groups):
            kill_group(group)
        shutil.rmtree(self.folder, ignore_errors=True)


def process_of(group: subprocess.Popen[bytes], program: str) -> int:
    """The number of a program's process in a group."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            name = path.read_bytes().partition(b"\0")[0].decode()
            if name.endswith(program) and os.getpgid(int(path.parent.name)) == group.pid:
                return int(path.parent.name)
    raise AssertionError(f"no {program}")


def kill_group(group: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group.pid, signal.SIGKILL)
    group.wait()


@contextlib.contextmanager
def cluster() -> Iterator[Nodes]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_MODE", "disabled")  # a token of the user's would have to be given to this process, too
        nodes = Nodes()
        try:
            nodes.start_head()
            yield nodes
        finally:
            nodes.end()


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def wait_until(true: object, within_s: float = UP_WITHIN_S) -> None:
    until = time.monotonic() + within_s
    while not true():  # type: ignore[operator]
        assert time.monotonic() < until
        time.sleep(0.05)

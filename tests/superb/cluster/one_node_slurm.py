"""A SLURM of one node on the loopback, with a folder and ports of its own; it needs Debian's slurm-wlm, and root.

`python -m tests.superb.cluster.one_node_slurm FOLDER COMMAND...` runs a command with it, and ends all that it started.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel", "sinfo")
PARTITION = "small"
_CONFIGURATION = """\
ClusterName=one
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmdPort={node_port}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
ReturnToService=2
KillWait=2
SlurmdParameters=config_overrides
SchedulerParameters=defer_batch,sched_min_interval=100000
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory=16000 State=UNKNOWN
PartitionName={partition} Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


def is_there() -> bool:
    """Whether the programs are installed and may be started."""
    return os.geteuid() == 0 and all(shutil.which(name) for name in PROGRAMS)


@contextlib.contextmanager
def one_node(folder: Path, cpus: int = 2, hidden: Path | None = None) -> Iterator[dict[str, str]]:
    """Starts a SLURM with one partition, `PARTITION`, and yields the environment in which its commands reach it.

    Args:
        folder: for its files.
        hidden: folder that jobs do not see, as on a host without the shared disk.
    """
    for name in ("state", "spool"):
        (folder / name).mkdir(parents=True)
    folder.chmod(0o755)
    places = {"folder": folder, "host": socket.gethostname().split(".")[0], "user": getpass.getuser(), "cpus": cpus}
    ports = dict(zip(("controller_port", "node_port"), _free_ports(2), strict=True))
    (folder / "slurm.conf").write_text(_CONFIGURATION.format(**places, **ports, partition=PARTITION))
    (folder / "munge.key").write_bytes(secrets.token_bytes(1024))
    (folder / "munge.key").chmod(0o600)
    environment = {**os.environ, "SLURM_CONF": str(folder / "slurm.conf")}
    munged = ["munged", "--foreground", "--force", f"--socket={folder}/munge.socket", f"--key-file={folder}/munge.key"]
    munged += [f"--pid-file={folder}/munged.pid", f"--seed-file={folder}/munge.seed", f"--log-file={folder}/munge.log"]
    node = ["slurmd", "-D"]
    if hidden is not None:
        hidden.mkdir(parents=True, exist_ok=True)
        node = ["unshare", "--mount", "sh", "-c", f"mount -t tmpfs none '{hidden}' && exec slurmd -D"]
    with contextlib.ExitStack() as stack:
        for command in (munged, ["slurmctld", "-D", "-c"], node):
            stack.enter_context(_started(command, folder, environment))
        _wait_until_idle(folder, environment)
        try:
            yield environment
        finally:
            _cancel_all(environment)


def _cancel_all(environment: dict[str, str]) -> None:
    """Cancels all jobs and waits for their ends, because their processes outlive the daemons."""
    until = time.monotonic() + 30
    while (jobs := _answer(["squeue", "--noheader", "--format=%A"], environment).split()) and time.monotonic() < until:
        subprocess.run(["scancel", "--full", "--signal=KILL", *jobs], env=environment, capture_output=True)
        subprocess.run(["scancel", *jobs], env=environment, capture_output=True)
        time.sleep(0.2)


@contextlib.contextmanager
def _started(command: list[str], folder: Path, environment: dict[str, str]) -> Iterator[None]:
    with (folder / "daemons.log").open("ab") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
    if command[0] == "munged":
        while not (folder / "munge.socket").exists() and process.poll() is None:
            time.sleep(0.02)
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_idle(folder: Path, environment: dict[str, str]) -> None:
    until = time.monotonic() + 30
    while "idle" not in (found := _answer(["sinfo", "--noheader", "--format=%T"], environment)):
        if time.monotonic() > until:
            logs = [path.read_text(errors="replace")[-2000:] for path in sorted(folder.glob("*.log"))]
            raise RuntimeError(f"the node is {found.strip() or 'unknown'}\n" + "\n".join(logs))
        time.sleep(0.1)


def _answer(command: list[str], environment: dict[str, str]) -> str:
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30).stdout


def _free_ports(number: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(number)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


if __name__ == "__main__":
    place = Path(sys.argv[1]).absolute()
    with one_node(place) as variables:
        raise SystemExit(subprocess.run(sys.argv[2:], env=variables).returncode)

"""The hosts of `gendistiller superb`: the flags of clusters, their checks, and the engine that they describe."""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from s3prl_gendistiller.cli import arguments, downstream
from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.host import compat_messages
from s3prl_gendistiller.host.feature_store import read_size
from s3prl_gendistiller.host.paths import VARIABLE
from s3prl_gendistiller.superb.cluster import ray_engine
from s3prl_gendistiller.superb.cluster.controller_note import announced
from s3prl_gendistiller.superb.cluster.engine import Cluster, ClusterEngine, require_no_jobs, retire
from s3prl_gendistiller.superb.cluster.host_run import Order, given_environment
from s3prl_gendistiller.superb.cluster.ray_engine import Ray
from s3prl_gendistiller.superb.cluster.slurm import Resources, Slurm
from s3prl_gendistiller.superb.suite import processes
from s3prl_gendistiller.superb.suite.duration import CORE_TFLOPS, GPU_TFLOPS
from s3prl_gendistiller.superb.suite.experiment_folder import Launch
from s3prl_gendistiller.superb.suite.run import RUNS
from s3prl_gendistiller.superb.suite.run_process import IMPORTED_ONCE
from s3prl_gendistiller.superb.suite.suite import Suite

MAIN = "s3prl_gendistiller.cli.downstream:main"
LOCAL = "local"
MAX_JOBS = 8
_COMMON = ("max_jobs", "gpus_per_run", "cpus_per_run", "memory_per_run")
_OF_THIS_MACHINE = {"jobs": "--max-jobs", "devices": "--gpus-per-run"}
# sbatch's options that a flag of ours sets, or on which the engine depends
_OWN = {"partition": "--partition", "p": "--partition", "time": "--hours-per-run", "t": "--hours-per-run"}
_OWN |= {"mem": "--memory-per-run", "cpus-per-task": "--cpus-per-run", "c": "--cpus-per-run"}
_OWN |= dict.fromkeys(("gpus", "gpus-per-node", "gpus-per-task"), "--gpus-per-run")
_KEPT = {"output", "error", "array", "job-name", "signal", "open-mode", "wrap", "ntasks", "nodes", "chdir", "export"}


@dataclass(frozen=True)
class _Choice:
    """A value of --cluster.

    Attributes:
        flags: its own flags, by their destination.
        cluster: what makes its cluster.
        waiting: `poll_s` and `late_s` of the engine.
        imported: see `host_run.Order`.
    """

    flags: tuple[str, ...]
    cluster: Callable[[argparse.Namespace], Cluster]
    waiting: Mapping[str, float] = field(default_factory=dict)
    imported: str = IMPORTED_ONCE


def _slurm(args: argparse.Namespace) -> Slurm:
    gpus = args.gpus_per_run or 0
    memory = "16G" if gpus else "4G"
    if args.memory_per_run is not None:
        memory = args.memory_per_run
    return Slurm(
        args.out,
        Resources(
            cpus=cpus_per_run(args),
            gpus=gpus,
            memory_gib=read_size(memory, "--memory-per-run") / 1e9,  # SLURM's G are GiB
            hours=args.hours_per_run,
            partition=args.partition,
            options=_options(args.slurm),
        ),
    )


def _ray(args: argparse.Namespace) -> Ray:
    memory = None if args.memory_per_run is None else read_size(args.memory_per_run, "--memory-per-run")
    return Ray(args.ray_address, cpus_per_run(args), args.gpus_per_run or 0, memory)


CHOICES = {
    "slurm": _Choice(("partition", "slurm", "hours_per_run"), _slurm),
    "ray": _Choice(("ray_address",), _ray, {"poll_s": 0.2, "late_s": 5.0}, ray_engine.IMPORTED),
}


def add_cluster_flags(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group(
        "hosts", "Runs on the hosts of a cluster; --out must be on a disk they share."
    ).add_argument
    where = "this machine (local, the default), a job of SLURM for each command, or a task of a running Ray"
    add("--cluster", choices=(LOCAL, *CHOICES), default=LOCAL, help=where)
    add(
        "--max-jobs",
        metavar="N",
        type=arguments.count(),
        help=f"jobs at a time, also waiting ones; default: {MAX_JOBS}, or what the nodes of Ray hold",
    )
    add("--gpus-per-run", metavar="N", type=arguments.count(0), help="GPUs of each run; default: 0")
    cpus = "cores of each run; default: 1, with a GPU 4"
    add("--cpus-per-run", metavar="N", type=arguments.count(), help=cpus)
    add(
        "--memory-per-run",
        metavar="SIZE",
        help="memory of each run, such as 12G; default: 4G, with a GPU 16G; of Ray none",
    )
    hours = "time limit of each job; default: that of the partition. A training goes on in a new job after it"
    add("--hours-per-run", metavar="X", type=arguments.number(above=0), help=hours)
    add("--partition", metavar="NAME", type=arguments.text, help="partition of SLURM")
    options = "further options of sbatch, such as account=lab qos=low exclusive"
    add("--slurm", metavar="KEY=VALUE", nargs="+", action="extend", default=[], help=options)
    head = "head of Ray; default: RAY_ADDRESS, or the Ray of this host"
    add("--ray-address", metavar="HOST:PORT", type=arguments.text, help=head)


def check_cluster_flags(args: argparse.Namespace) -> None:
    """UserError for a flag that does not belong to the chosen --cluster, or cannot be read."""
    chosen = CHOICES.get(args.cluster)
    known = {name for choice in CHOICES.values() for name in choice.flags} | set(_COMMON)
    for name in sorted(known - set(() if chosen is None else (*_COMMON, *chosen.flags))):
        if getattr(args, name) not in (None, []):
            fitting = [kind for kind, choice in CHOICES.items() if name in (*_COMMON, *choice.flags)]
            expected = " or ".join(f"--cluster {kind}" for kind in fitting)
            raise UserError(f"{_flag(name)}: found with --cluster {args.cluster}, expected {expected}; leave it out")
    if chosen is None:
        return
    for name, ours in _OF_THIS_MACHINE.items():
        if getattr(args, name):
            raise UserError(f"{_flag(name)}: found with --cluster {args.cluster}; give {ours} in its place")
    chosen.cluster(args)


def _cluster(args: argparse.Namespace) -> Cluster | None:
    """The cluster that the flags describe; None for this machine."""
    return None if args.cluster == LOCAL else CHOICES[args.cluster].cluster(args)


def at_a_time(args: argparse.Namespace) -> int | None:
    """Number of jobs at a time on a cluster; None on this machine."""
    cluster = _cluster(args)
    if cluster is None:
        return None
    slots = cluster.slots()
    return min(args.max_jobs or slots or MAX_JOBS, slots or sys.maxsize)


def speed_of_run(args: argparse.Namespace) -> float | None:
    """10^12 floating point operations per second of each run on a cluster; None on this machine."""
    if args.cluster == LOCAL:
        return None
    speed = args.tflops or (GPU_TFLOPS if args.gpus_per_run else CORE_TFLOPS * cpus_per_run(args))
    return float(speed)


def cpus_per_run(args: argparse.Namespace) -> int:
    return int(args.cpus_per_run or (4 if args.gpus_per_run else 1))


def described(args: argparse.Namespace) -> list[str]:
    """Lines of a dry run about the jobs."""
    cluster = _cluster(args)
    return [] if cluster is None else [f"--cluster {cluster.name}, {at_a_time(args)} at a time: {cluster.describe()}"]


def require_cluster(args: argparse.Namespace) -> None:
    """UserError, before anything runs, if the cluster is not there or refuses the resources of a run."""
    cluster = _cluster(args)
    if cluster is not None:
        cluster.require()


@contextlib.contextmanager
def launching(args: argparse.Namespace, suite: Suite, jobs: int, devices: Sequence[str]) -> Iterator[Launch]:
    """Locks the suite's folder and yields what starts its runs.

    Raises:
        KeyboardInterrupt: the suite was stopped, with a text on the jobs that go on.
    """
    cluster = _cluster(args)
    if cluster is None:
        with processes.running(suite.out, downstream.main, jobs, devices) as launch, announced(suite.out):
            require_no_jobs(suite.out, RUNS)
            yield launch
        return
    with processes.locked(suite.out), announced(suite.out):
        chosen = CHOICES[args.cluster]
        template = replace(order_of_a_run(args), imported=chosen.imported)
        flags = ["--device", "cuda" if args.gpus_per_run else "cpu"]
        engine = ClusterEngine(cluster, template, flags, **chosen.waiting)
        try:
            cluster.prepare(suite)
            yield engine
        except KeyboardInterrupt as stop:
            cancels = cluster.cancelling(numbers) if (numbers := engine.in_flight()) else ""
            engine.stop()
            if not cancels:
                raise
            raise KeyboardInterrupt(f"jobs go on, and that command waits for them; {cancels} cancels them") from stop
        except BaseException:
            engine.stop()
            raise
        finally:
            cluster.close()
        retire(suite.out, RUNS)


def order_of_a_run(args: argparse.Namespace) -> Order:
    """What the orders of all commands have in common."""
    environment = {name: os.environ.get(name) for name in (VARIABLE, compat_messages.VARIABLE)}
    given, gpu = given_environment(environment), bool(args.gpus_per_run)
    return Order("", MAIN, (), "", cpus_per_run(args), os.getcwd(), given, gpu=gpu)


def _options(given: Sequence[str]) -> dict[str, str]:
    """The options of ``--slurm``, by name without dashes."""
    found: dict[str, str] = {}
    for text in given:
        name, _, value = text.partition("=")
        name = name.lstrip("-")
        if not re.fullmatch(r"[a-zA-Z][\w-]*", name) or not value.isprintable():
            raise UserError(f"--slurm {text}: expected KEY=VALUE of sbatch, such as account=lab")
        if name in _OWN:
            raise UserError(f"--slurm {text}: give {_OWN[name]} in its place")
        if name in _KEPT:
            raise UserError(f"--slurm {text}: the command sets {name} itself; leave it out")
        found[name] = value
    return found


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"

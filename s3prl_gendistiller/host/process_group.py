"""Joining the ranks of a run, the device of each, and the silence of all but rank 0."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import signal
import socket
import threading
import warnings
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed import PrefixStore  # type: ignore[attr-defined]

from s3prl_gendistiller.distill import ranks
from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.host import meeting
from s3prl_gendistiller.host.meeting import Meeting

TIMEOUT = timedelta(minutes=10)
"""For a call that never returns. A rank that dies closes its connections, and `pulse` finds a machine that is lost."""
TERMINATED = 128 + signal.SIGTERM
_STOP = 0  # no signal has this number
_LOST = re.compile(
    r"gloo|NCCL|Connection (closed|reset)|Broken pipe|Socket Timeout|Timed out|DistBackend|recvValue|process group",
    re.I,
)
_OF_ITS_SHARE = "s3prl_gendistiller.distill.data"  # bad and silent files are known to the rank that reads them


class NoWriter:
    """Takes the place of tensorboardX's SummaryWriter on ranks that write no files."""

    def __init__(self, logdir: str) -> None:
        self.logdir = logdir

    def add_scalar(self, *values: Any, **options: Any) -> None: ...

    def close(self) -> None: ...


def choose_device(here: Meeting, asked: str | None, filled: dict[str, str]) -> str:
    """The device of this rank: the GPU of its local rank, or cpu.

    UserError: the machine has fewer GPUs than ranks, or none although `asked`, or the device has a number.
    """
    if asked == "cpu":
        return "cpu"
    machine = socket.gethostname()
    if asked not in (None, "cuda"):
        raise UserError(
            f"--device: found {asked} with {here.world} ranks, expected cuda or cpu; torchrun gives each rank a GPU of "
            "its own"
        )
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if count == 0:
        if asked is not None:
            raise UserError(
                f"--device cuda: found no GPU on {machine}, and ranks on GPUs (NCCL) need one each; give --device cpu"
            )
        filled["--device"] = "cpu (no GPU found)"
        return "cpu"
    if here.local_world > count:
        raise UserError(
            f"torchrun --nproc_per_node: found {here.local_world} with {count} GPUs on {machine}, expected one GPU for "
            f"each rank; give --nproc_per_node {count}, or --device cpu"
        )
    if not dist.is_nccl_available():
        raise UserError("torchrun: this torch has no NCCL, which joins ranks on GPUs; install another torch")
    return f"cuda:{here.local_rank}"


@contextlib.contextmanager
def joined(here: Meeting | None, device: str, way_on: Callable[[], str]) -> Iterator[None]:
    """Joins the ranks for the training. All but rank 0 print nothing, and SIGTERM ends each at once with one message.

    Args:
        way_on: gives the advice on how to go on with the run.
    """
    if here is None or here.world == 1:
        yield
        return
    on_gpus = device != "cpu"
    if on_gpus:
        torch.cuda.set_device(device)
    try:
        dist.init_process_group(
            "cpu:gloo,cuda:nccl" if on_gpus else "gloo",
            # a connection of its own, because a call of the group may keep it for long
            store=PrefixStore(f"gendistiller/{here.attempt}/group", meeting.connect(os.environ)),
            rank=here.rank,
            world_size=here.world,
            timeout=TIMEOUT,
        )
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(
            f"the {here.world} ranks cannot be joined ({reason}); on several machines, name the network between them "
            "with GLOO_SOCKET_IFNAME and NCCL_SOCKET_IFNAME"
        ) from error
    here.agree("joining")  # a rank that ended before would break the connections that others still make
    with _quiet() if here.rank else contextlib.nullcontext(), told_of_sigterm(here, way_on):
        yield
    dist.destroy_process_group()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """No output and no warnings; messages to stderr and lines of the log stay."""
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextlib.contextmanager
def told_of_sigterm(here: Meeting, way_on: Callable[[], str]) -> Iterator[None]:
    """Ends this process at SIGTERM, with which torchrun stops the other ranks once one has ended; one rank says so.

    A thread does so, because the main thread may wait for another rank in a call that no Python handler interrupts.
    """
    reading, writing = os.pipe()
    os.set_blocking(writing, False)

    def watch() -> None:
        signals = b""
        while not {signal.SIGTERM, _STOP} & set(signals):
            signals = os.read(reading, 64)
        if signal.SIGTERM in signals:
            here.tell(f"stopped: another rank has ended, or the run was stopped from outside; {way_on()}")
            os._exit(TERMINATED)

    def handler(number: int, frame: Any) -> None:
        """The signal is already on its way to `watch`."""

    watched = threading.Event()
    watched.set()
    _keep_from_children(watched)
    before = signal.signal(signal.SIGTERM, handler)
    woken = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        watched.clear()
        signal.set_wakeup_fd(woken)
        signal.signal(signal.SIGTERM, before)
        os.write(writing, bytes([_STOP]))
        thread.join()
        os.close(reading)
        os.close(writing)


def _keep_from_children(watched: threading.Event) -> None:
    """Gives processes that are forked while `watched` is set the usual SIGTERM.

    They share the pipe of `told_of_sigterm`: the end of a worker process of the loader would be taken for this one's.
    """

    def mask(how: int) -> None:
        if watched.is_set():
            signal.pthread_sigmask(how, [signal.SIGTERM])

    def forget() -> None:
        if watched.is_set():
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
        mask(signal.SIG_UNBLOCK)

    os.register_at_fork(
        before=lambda: mask(signal.SIG_BLOCK),
        after_in_parent=lambda: mask(signal.SIG_UNBLOCK),
        after_in_child=forget,
    )


def lost_rank(error: BaseException) -> bool:
    """Whether a call failed because another rank has ended."""
    if ranks.world() == 1 or not isinstance(error, RuntimeError):
        return False
    return isinstance(error, dist.DistError) or _LOST.search(str(error)) is not None


def speaks(record: logging.LogRecord) -> bool:
    """Whether a line of the log is written: all lines of rank 0, and warnings of others about files of their share."""
    here = meeting.present()
    if here is None or here.rank == 0:
        return True
    record.msg = f"rank {here.rank}: {record.msg}"
    return record.levelno >= logging.WARNING and record.name == _OF_ITS_SHARE

"""Failures of a run that are no bugs: a full disk, a killed process, too little memory; each as one message."""

from __future__ import annotations

import contextlib
import errno
import re
from collections.abc import Iterator, Mapping
from typing import Any

import torch

from s3prl_gendistiller.distill.compiling import compiler_fault
from s3prl_gendistiller.documents import leaves
from s3prl_gendistiller.errors import UserError

_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_BLOCKED = {errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG}
_BLOCKED |= {errno.ENOENT, errno.EIO, errno.ELOOP, errno.EINVAL, errno.EBUSY, errno.ETXTBSY, errno.ESTALE, errno.ENXIO}
# torch.save gives no reason: a full disk can be recognised only by the writer's message
_UNWRITTEN = re.compile(r"PytorchStreamWriter failed|unexpected pos \d+|file write failed|iostream error")
_WORKER = re.compile(r"DataLoader worker \(pid.*(exited unexpectedly|killed by signal)|received \d+ items of ancdata")
_GPU_MEMORY = re.compile(r"CUDA out of memory|CUDA error: out of memory|CUBLAS_STATUS_ALLOC_FAILED")
_MEMORY = re.compile(r"DefaultCPUAllocator|can't allocate memory|not enough memory|out of memory")
_OVERRIDE = "-o config.KEY=VALUE"


def user_cause(error: BaseException, workers: str = "") -> str | None:
    """The cause that a user can resolve, in one line; None for a bug.

    `workers` is the full key of the number of worker processes, such as pretrain_expert.datarc.num_workers.
    """
    seen: BaseException | None = error
    while seen is not None:
        found = _cause(seen, workers)
        if found is not None:
            return found
        seen = seen.__cause__ or (None if seen.__suppress_context__ else seen.__context__)
    return None


@contextlib.contextmanager
def explained(workers: str = "") -> Iterator[None]:
    """Turns an exception that `user_cause` explains into a UserError; others pass through."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        found = user_cause(error, workers)
        if found is None:
            raise
        raise UserError(found) from error


def workers_key(config: Mapping[str, Any]) -> str:
    """The full key of `num_workers` in a configuration; empty if there is none."""
    return next((key for key, _ in leaves(config) if key.rpartition(".")[2] == "num_workers"), "")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether the GPU or the machine had too little memory."""
    on_cpu = isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and _MEMORY.search(str(error)))
    return bool(on_cpu) or _lacks_gpu_memory(error)


def _lacks_gpu_memory(error: BaseException) -> bool:
    return isinstance(error, torch.cuda.OutOfMemoryError) or _GPU_MEMORY.search(str(error)) is not None


def _cause(error: BaseException, workers: str) -> str | None:
    text = " ".join(str(error).split())[:300]
    if (compilation := compiler_fault(error)) is not None:
        return compilation
    if isinstance(error, OSError) and not isinstance(error, ConnectionError):
        return _of_system(error)
    if isinstance(error, RuntimeError) and _WORKER.search(text):
        key = f"-o config.{workers}=0" if workers else "num_workers"
        return (
            f"a worker process that reads data was killed, most likely because memory was short ({text}); "
            f"lower the number of worker processes ({key} for none), or the batch"
        )
    if _lacks_gpu_memory(error):
        return f"the GPU has too little memory ({text}); lower the batch with {_OVERRIDE}, or free the GPU"
    if is_out_of_memory(error):
        return f"the machine has too little memory ({text or 'MemoryError'}); lower the batch with {_OVERRIDE}"
    if isinstance(error, RuntimeError) and _UNWRITTEN.search(text):
        return f"a checkpoint could not be written whole ({text}); look whether the disk is full, make room and go on"
    return None


def _of_system(error: OSError) -> str | None:
    named = f"{error.filename}: " if error.filename is not None else ""
    reason = error.strerror or str(error)
    if error.errno in _DISK:
        return f"{named}the disk is full ({reason}); make room, then go on"
    if error.errno == errno.EMFILE:
        return f"{named}too many files are open at a time ({reason}); raise the limit with ulimit -n 4096"
    if error.errno == errno.ENOMEM:
        return f"{named}the machine has too little memory ({reason}); lower the batch with {_OVERRIDE}"
    if error.errno in _BLOCKED and error.filename is not None:
        return f"{named}{reason[0].lower()}{reason[1:]}; correct the file or folder at that path, or give another path"
    if error.errno is None and "requested and" in reason:  # numpy could not write a whole array
        return f"the disk is full ({reason}); make room, then go on"
    return None

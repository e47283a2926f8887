"""Ranks in forked processes, without torchrun: in a second, and with everything that this process has loaded."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

SECONDS = 120


def of_ranks(world: int, folder: Path, call: Callable[[], Any]) -> list[Any]:
    """The results of `call` in `world` joined processes; an exception of one fails the test."""
    context = multiprocessing.get_context("fork")
    folder.mkdir(exist_ok=True)
    store = str(folder / f"store-{world}-{len(list(folder.iterdir()))}")
    pipes = [context.Pipe(duplex=False) for _ in range(world)]
    processes = [
        context.Process(target=_run, args=(rank, world, store, call, writing), daemon=False)
        for rank, (_, writing) in enumerate(pipes)
    ]
    for process in processes:
        process.start()
    try:
        results = [
            pickle.loads(reading.recv_bytes()) if reading.poll(SECONDS) else (False, "no answer")
            for reading, _ in pipes
        ]
    finally:
        for process in processes:
            process.join(5)
            process.kill()
    for works, result in results:
        assert works, result
    return [result for _, result in results]


def _run(rank: int, world: int, store: str, call: Callable[[], Any], answer: Any) -> None:
    torch.set_num_threads(1)
    try:
        shared = dist.FileStore(store, world)
        dist.init_process_group("gloo", store=shared, rank=rank, world_size=world)
        answer.send_bytes(pickle.dumps((True, call())))  # not `send`, which shares the memory of tensors
    except BaseException:
        answer.send_bytes(pickle.dumps((False, traceback.format_exc())))
    finally:
        answer.close()


def launched(
    folder: Path, main: Callable[[Sequence[str]], int], argvs: Sequence[Sequence[str]], **environment: str
) -> list[tuple[int, str]]:
    """Status and stderr of `main` in one forked process for each of `argvs`, which torchrun seems to have started."""
    store = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False, multi_tenant=True)
    world = len(argvs)
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(store.port), "WORLD_SIZE": str(world)}
    shared |= {"LOCAL_WORLD_SIZE": str(world), "TORCHELASTIC_USE_AGENT_STORE": "True", "TORCHELASTIC_RUN_ID": "test"}
    context = multiprocessing.get_context("fork")
    errors = [folder / f"stderr-{rank}" for rank in range(world)]

    def run(rank: int) -> None:
        torch.set_num_threads(1)
        os.environ.update({**shared, "RANK": str(rank), "LOCAL_RANK": str(rank), **environment})
        with errors[rank].open("w", buffering=1) as sys.stderr:
            status = main(argvs[rank])
        os._exit(status)

    processes = [context.Process(target=run, args=(rank,)) for rank in range(world)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(SECONDS)
        process.kill()
        process.join()
    return [(process.exitcode or 0, error.read_text()) for process, error in zip(processes, errors, strict=True)]

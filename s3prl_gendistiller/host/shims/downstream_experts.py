"""What s3prl's downstream experts lack on a CPU, without a git checkout, or with more than one corpus.

`mount` puts these in place before the Runner makes the expert.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch


def parallel_threads(n_jobs: int) -> Callable[[Iterable[Any]], list[Any]]:
    """`joblib.Parallel` for speaker verification, which asks for twelve processes to read a corpus once.

    Threads: reading and filtering release the interpreter's lock, and twelve copies of torch fill a small machine.
    """
    from joblib import Parallel

    parallel: Callable[[Iterable[Any]], list[Any]] = Parallel(n_jobs=min(n_jobs, os.cpu_count() or 1), prefer="threads")
    return parallel


def stay(tensor: torch.Tensor, *place: Any, **options: Any) -> torch.Tensor:
    """`Tensor.cuda` on a run that has no GPU: speaker verification moves its mask there whatever the device."""
    return tensor


def keeping_corpus(load_dataset: Callable[..., Any]) -> Callable[..., Any]:
    """The `ctc` task's loader takes `num_workers` out of the configuration that it is given.

    Every loader after the first, and every run from a checkpoint, would start twelve worker processes.
    """

    @functools.wraps(load_dataset)
    def load(split: str, tokenizer: Any, corpus: Mapping[str, Any]) -> Any:
        return load_dataset(split, tokenizer, dict(corpus))

    return load

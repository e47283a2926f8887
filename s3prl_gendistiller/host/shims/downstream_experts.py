"""Stand-ins in s3prl's downstream experts, for runs on a CPU, without a git checkout, or with more than one corpus.

`mount` installs them before the Runner builds the expert.
"""

from __future__ import annotations

import contextlib
import functools
import os
import pickle
from collections.abc import Callable, Iterable, Mapping
from types import ModuleType
from typing import IO, Any

import torch

from s3prl_gendistiller.errors import UserError


def parallel_threads(n_jobs: int) -> Callable[[Iterable[Any]], list[Any]]:
    """`joblib.Parallel` for speaker verification, with threads in place of the twelve processes that s3prl starts.

    Reading and filtering release the interpreter's lock, and twelve copies of torch fill the memory of a small machine.
    """
    from joblib import Parallel

    parallel: Callable[[Iterable[Any]], list[Any]] = Parallel(n_jobs=min(n_jobs, os.cpu_count() or 1), prefer="threads")
    return parallel


class PlainPickle:
    """`pickle` for speaker identification, which keeps lists of paths in the run's folder."""

    dump = staticmethod(pickle.dump)

    @staticmethod
    def load(file: IO[bytes]) -> list[str]:
        """UserError if the file holds anything but a list of texts; no code in it is run."""
        found: Any = None
        with contextlib.suppress(Exception):  # any bytes may fail in any way; none can call a function
            found = _NoObjects(file).load()
        if not isinstance(found, list) or not all(isinstance(path, str) for path in found):
            raise UserError(f"{file.name}: expected a list of paths, which s3prl wrote; delete it, it is made again")
        return found


class _NoObjects(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"{module}.{name}")


def class_of(module: ModuleType) -> Callable[[str], type]:
    """`eval` for a module that evaluates the name of one of its classes from a checkpoint."""

    def named(text: str) -> type:
        found = vars(module).get(text) if isinstance(text, str) else None
        if not isinstance(found, type):
            raise UserError(
                f"{module.__name__}: found {str(text)[:80]!r} in a checkpoint, expected the name of a class"
            )
        return found

    return named


def stay(tensor: torch.Tensor, *place: Any, **options: Any) -> torch.Tensor:
    """`Tensor.cuda` for a run on a CPU: speaker verification always moves its mask to a GPU."""
    return tensor


def keeping_corpus(load_dataset: Callable[..., Any]) -> Callable[..., Any]:
    """`load_dataset` of the `ctc` task, with a copy of the configuration: s3prl removes `num_workers` from it.

    Without the copy every loader after the first, and every resumed run, would start twelve worker processes.
    """

    @functools.wraps(load_dataset)
    def load(split: str, tokenizer: Any, corpus: Mapping[str, Any]) -> Any:
        return load_dataset(split, tokenizer, dict(corpus))

    return load

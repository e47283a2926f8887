"""What s3prl's downstream experts lack on a CPU, without a git checkout, or with more than one corpus.

`mount` puts these in place before the Runner makes the expert.
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
    """`joblib.Parallel` for speaker verification, which asks for twelve processes to read a corpus once.

    Threads: reading and filtering release the interpreter's lock, and twelve copies of torch fill a small machine.
    """
    from joblib import Parallel

    parallel: Callable[[Iterable[Any]], list[Any]] = Parallel(n_jobs=min(n_jobs, os.cpu_count() or 1), prefer="threads")
    return parallel


class PlainPickle:
    """`pickle` as speaker identification sees it, which keeps lists of paths in the run's folder."""

    dump = staticmethod(pickle.dump)

    @staticmethod
    def load(file: IO[bytes]) -> list[str]:
        """
        Raises:
            UserError: the file holds anything but a list of texts; nothing in it is run.
        """
        found: Any = None
        with contextlib.suppress(Exception):  # bytes of any kind; none of them can call anything
            found = _NoObjects(file).load()
        if not isinstance(found, list) or not all(isinstance(path, str) for path in found):
            raise UserError(f"{file.name}: expected a list of paths, which s3prl wrote; delete it, it is made again")
        return found


class _NoObjects(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"{module}.{name}")


def class_of(module: ModuleType) -> Callable[[str], type]:
    """`eval` as a module sees it that evaluates the name of one of its classes, out of a checkpoint."""

    def named(text: str) -> type:
        found = vars(module).get(text) if isinstance(text, str) else None
        if not isinstance(found, type):
            raise UserError(
                f"{module.__name__}: found {str(text)[:80]!r} in a checkpoint, expected the name of a class"
            )
        return found

    return named


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

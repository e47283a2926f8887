"""The folder of a run: its lock, and its removal if nothing came of the run."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from s3prl_gendistiller.distill.metrics import METRICS_FILE
from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.host.lock import locked

LOCK = ".run.lock"
IN_USE = "another run trains in that folder; wait until that run has ended, stop it, or give another -n"


@contextlib.contextmanager
def new_folder(folder: Path, *, trains: bool = True) -> Iterator[None]:
    """Locks a run's folder, and deletes a new folder if the run fails before its first step, checkpoint or metrics.

    Args:
        trains: whether the run trains. An evaluation needs no lock: it may read the checkpoints of a run that trains,
            because each file is replaced whole.
    """
    existed = folder.exists()
    leader = os.environ.get("RANK", "0") == "0"  # one of several training processes holds the lock
    with locked(folder, LOCK, IN_USE) if trains and leader else contextlib.nullcontext():
        try:
            yield
        except UserError as error:
            used = error.begun or any(next(folder.glob(pattern), None) for pattern in ("*.ckpt", METRICS_FILE))
            if leader and not existed and folder.is_dir() and not used:
                shutil.rmtree(folder)
            raise

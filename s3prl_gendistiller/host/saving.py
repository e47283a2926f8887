"""Writing and deleting checkpoints: a kill, a full disk or a failure leaves the earlier ones intact.

s3prl's Runners delete the oldest checkpoint before they write the next one, and write it in place.
"""

from __future__ import annotations

import logging
import os
import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.host.checkpoint import REGULAR, newest_checkpoint, whole_step
from s3prl_gendistiller.outputs import replacing

PARTIAL = ".*.ckpt.part-*"

logger = logging.getLogger(__name__)


def save_checkpoint(states: Mapping[str, Any], path: Path, keep: int) -> None:
    """Writes a checkpoint to a temporary file, renames it once it is on the disk, and then deletes surplus ones.

    The new one and the last `keep` regular checkpoints (`states-*.ckpt`) stay. After a UserError, because the file
    cannot be written, nothing has been deleted.
    """
    try:
        with replacing(path) as part, part.open("wb") as file:
            torch.save(states, file)
            file.flush()
            os.fsync(file.fileno())
    except RuntimeError as error:  # torch's writer on a full disk
        raise UserError(
            f"{path}: cannot be written ({str(error).splitlines()[0]}); make room; {way_on(path.parent)}"
        ) from error
    _sync(path.parent)
    if path.match(REGULAR):
        delete_surplus(path, keep)


def named_by_step(text: str, step: int) -> str:
    """`text` with ``states-STEP`` in place of ``states-epoch-N``, as s3prl names the last checkpoint of a run."""
    return re.sub(r"\bstates-epoch-\d+(?=\.ckpt$)", f"states-{step}", text)


def way_on(folder: Path, options: str = "", program: str = "") -> str:
    """Advice on the flags that resume a run that has ended.

    `options` is text to add to the command, beginning with a space, `program` the launcher, if known, ending with one.
    """
    if newest_checkpoint(folder) is None:
        return f"nothing was saved yet: the same command{options and ' with'}{options} begins again"
    return f"{program}-e {shlex.quote(os.path.relpath(folder))}{options} goes on with the run"


def delete_surplus(written: Path, keep: int) -> None:
    """Deletes regular checkpoints beyond `keep` but for the one just written, and temporary files of killed saves.

    Broken checkpoints go first, then those of the lowest stored steps.
    """
    order: dict[Path, tuple[bool, bool, int, float]] = {}
    for path in written.parent.glob(REGULAR):
        try:
            step = whole_step(path)
            order[path] = (path == written, step is not None, step or 0, path.stat().st_mtime)
        except FileNotFoundError:  # deleted meanwhile
            continue
        except UserError as error:  # a file of a later version, or of no Runner, is left alone
            logger.warning("kept %s", error)
    surplus = sorted(order, key=order.__getitem__)[: max(0, len(order) - max(keep, 1))]
    for path in [*surplus, *written.parent.glob(PARTIAL)]:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            logger.warning("%s: cannot be deleted (%s)", path, error.strerror or error)


def _sync(folder: Path) -> None:
    """Writes a folder's entries to the disk, so that a renamed file keeps its new name."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError:  # some file systems cannot synchronise a folder
        logger.debug("%s: cannot be synchronised", folder)
    finally:
        os.close(descriptor)

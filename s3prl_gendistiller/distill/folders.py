"""Folders that appear complete or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from s3prl_gendistiller.errors import UserError


@contextmanager
def atomic_folder(folder: Path, content: str) -> Iterator[Path]:
    """A folder to fill that becomes `folder` when the block ends well and leaves nothing behind otherwise.

    Args:
        folder: must not exist; everyone may read it and the files in it.
        content: what it is for, as the error says it.

    Raises:
        UserError: the folder is there, or it cannot be written.
    """
    if folder.exists():
        raise UserError(f"{folder}: already there; expected a new folder for {content}")
    partial = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
        yield partial
        partial.chmod(0o755)
        for path in partial.rglob("*"):  # safetensors lets nobody else read what it writes
            path.chmod(0o755 if path.is_dir() else 0o644)
        os.rename(partial, folder)
    except OSError as error:
        reason = error.strerror or error
        raise UserError(f"{folder}: cannot be written ({reason}); choose another place") from error
    finally:
        if partial is not None:  # which is gone where all went well
            shutil.rmtree(partial, ignore_errors=True)

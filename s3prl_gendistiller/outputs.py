"""Output files and folders: checked before the work, written whole or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from s3prl_gendistiller.errors import UserError

PARTS = ".*.part-*"
"""Pattern of the names that `replacing` writes under; they end with the number of the process."""


def check_writable(path: Path, flag: str, *, folder: bool) -> None:
    """Writes one byte into the nearest existing folder of a file or folder that `flag` names, and removes it again.

    Raises:
        UserError: `path` is a file in place of a folder or the reverse, or nothing can be written there.
    """
    try:
        if not folder and path.is_dir():
            raise UserError(f"{flag} {path}: found a folder, expected the name of a file; add one")
        there = path if folder else path.parent
        while not there.exists() and not there.is_symlink():
            there = there.parent
        if not there.is_dir():
            raise UserError(f"{flag} {path}: found a file at {there}, expected a folder; give another place")
        with tempfile.TemporaryFile(dir=there) as probe:
            probe.write(b"\n")
    except OSError as error:
        raise UserError(
            f"{flag} {path}: nothing can be written there ({error.strerror or error}); give another place"
        ) from error


@contextmanager
def replacing(path: Path, remedy: str = "choose another output folder") -> Iterator[Path]:
    """A temporary path, which is renamed to `path` if the block succeeds and is removed if the block fails.

    Args:
        path: path of the file; a missing folder is made.
        remedy: what the user can do about a file that cannot be written, which is a `UserError`.
    """
    part = path.with_name(f".{path.name}.part-{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield part
        os.replace(part, path)
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror or error}); {remedy}") from error
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """A whole text file or none, as by `replacing`, in UTF-8, with Unix line ends on every system."""
    write_texts({path: text})


def write_texts(contents: Mapping[Path, str]) -> None:
    """Several whole text files or none: all are written before the first takes its name."""
    with ExitStack() as stack:
        for path, text in contents.items():
            stack.enter_context(replacing(path)).write_text(text, encoding="utf-8", newline="\n")


@contextmanager
def atomic_folder(folder: Path, content: str) -> Iterator[Path]:
    """A temporary folder, which is renamed to `folder` if the block succeeds and is removed if the block fails.

    Everyone may read the folder and the files in it.

    Raises:
        UserError: the folder, which is for `content`, exists or cannot be written.
    """
    if folder.exists():
        raise UserError(f"{folder}: already there; expected a new folder for {content}")
    partial = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
        yield partial
        partial.chmod(0o755)
        for path in partial.rglob("*"):  # safetensors gives its files to their owner alone
            path.chmod(0o755 if path.is_dir() else 0o644)
        os.rename(partial, folder)
    except OSError as error:
        raise UserError(f"{folder}: cannot be written ({error.strerror or error}); choose another place") from error
    finally:
        if partial is not None:  # after a rename nothing is left under this name
            shutil.rmtree(partial, ignore_errors=True)

"""Files of corpora: listing of folders, refusal of pipes and folders in place of files, readers of texts and tables."""

from __future__ import annotations

import csv
import os
import stat
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import TypeVar

from tqdm import tqdm

from s3prl_gendistiller.errors import UserError

S = TypeVar("S")
T = TypeVar("T")

_CHUNK = 64
_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def files_below(
    folder: Path,
    suffixes: str | tuple[str, ...],
    beginnings: tuple[str, ...] = (),
    left_out: Counter[str] | None = None,
) -> Iterator[Path]:
    """Files at any depth in a fixed order, without hidden ones; links are followed, no folder twice.

    Args:
        suffixes: suffixes in lower case; the names may have these suffixes in any case.
        beginnings: beginnings of the names; an empty tuple admits all names.
        left_out: receives the suffixes of the other files, with their counts.

    Raises:
        UserError: a folder cannot be listed. A folder that does not exist has no files.
    """
    seen: set[str] = set()
    for here, folders, names in os.walk(folder, onerror=_refuse_unlisted, followlinks=True):
        real = os.path.realpath(here)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if name.startswith("."):
                continue
            if name.lower().endswith(suffixes) and name.startswith(beginnings or ""):
                yield Path(here, name)
            elif left_out is not None:
                left_out[os.path.splitext(name)[1].lower() or "no suffix"] += 1


def _refuse_unlisted(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError | NotADirectoryError):
        raise UserError(f"{error.filename}: cannot be listed ({error.strerror}); expected a folder that can be read")


def refuse_irregular(path: str | os.PathLike[str], content: str) -> None:
    """Refuses a path of no regular file, because reading from a pipe would never end.

    Args:
        content: "audio" or "text", for the message.

    Raises:
        UserError: the file does not exist, is no regular file, or is audio with a name that is not UTF-8, which
            neither libsndfile nor a manifest can hold.
    """
    shown = os.fsencode(path).decode(errors="backslashreplace")
    if content == "audio" and os.fsencode(path) != shown.encode():
        raise UserError(f"{shown}: the name is not UTF-8, expected one that a manifest can hold; rename the file")
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError) as error:
        found = "a link to nothing" if os.path.islink(path) else "no such file"
        if not isinstance(error, FileNotFoundError | NotADirectoryError):
            found = f"cannot be read ({getattr(error, 'strerror', error)})"
        raise UserError(
            f"{os.fspath(path)}: {found}; expected {content}; correct the path or repeat the manifest"
        ) from None
    if not stat.S_ISREG(mode):
        article = "an" if content == "audio" else "a"
        found = _KINDS.get(stat.S_IFMT(mode), "no regular file")
        raise UserError(f"{os.fspath(path)}: is {found}; expected {article} {content} file; correct the path")


def of_each_file(
    files: Sequence[S], look: Callable[[S], T], *, workers: int | None, description: str, progress: bool
) -> list[T]:
    """Results of a function for each file, in order, computed by threads under a progress bar.

    Args:
        files: paths, or other values that each stand for a file.
        workers: number of threads; None for four per core.
    """
    chunks = [files[i : i + _CHUNK] for i in range(0, len(files), _CHUNK)]
    found: list[T] = []
    bar = tqdm(total=len(files), desc=description, unit="file", disable=not progress)
    with bar, ThreadPoolExecutor(workers or 4 * (os.cpu_count() or 1)) as pool:
        try:
            for part in pool.map(lambda chunk: [look(file) for file in chunk], chunks):
                found += part
                bar.update(len(part))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return found


def within(folder: Path, name: str, source: str) -> Path:
    """The path of a file that the table `source` names, below a folder; a UserError if it leads out of the folder."""
    parts = PurePosixPath(name.replace("\\", "/")).parts
    if not parts or ".." in parts or Path(name).is_absolute() or parts[0] == "/" or "\0" in name:
        raise UserError(f"{source}: found the file name {name!r}, expected one below {folder}; correct the table")
    return folder / name


def read_text(path: Path) -> str:
    """A text file in UTF-8, without the byte order mark of some editors, with ``\\n`` as line end.

    Raises:
        UserError: no such file, no regular one, or not UTF-8.
    """
    refuse_irregular(path, "text")
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise UserError(
            f"{path} line {line}: found byte {error.object[error.start]:#04x}, expected UTF-8; "
            "convert the file, for example with iconv"
        ) from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); expected a text file") from None


def csv_reader(path: Path, lines: Iterable[str]) -> csv.DictReader[str]:
    """Rows of a CSV file by column; `path` is for messages.

    Raises:
        UserError: two columns have one name; readers differ in which one they take.
    """
    reader = csv.DictReader(lines)
    twice = [name for name, count in Counter(reader.fieldnames or []).items() if name and count > 1]
    if twice:
        raise UserError(f"{path}: has the column {', '.join(twice)} more than once, expected it once; remove one")
    return reader

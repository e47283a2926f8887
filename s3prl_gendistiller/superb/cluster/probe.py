"""What a host must have before runs go to it: the shared folder, the same versions, and every path that a run reads.

The controlling process writes a probe into the suite's folder. A host reads it, compares, and writes an answer beside
it. Nothing here imports torch or s3prl, so that a comparison takes a fraction of a second.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import platform
import re
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from s3prl_gendistiller import shipped
from s3prl_gendistiller._version import __version__
from s3prl_gendistiller.documents import read_json
from s3prl_gendistiller.errors import SHOWN, UserError, shortened
from s3prl_gendistiller.outputs import check_writable, write_text

if TYPE_CHECKING:
    from s3prl_gendistiller.superb.suite.suite import Suite

PROBE = ".superb_probe.json"
OWN, CODE = "s3prl-gendistiller", "code of s3prl-gendistiller"
COMPARED = ("s3prl", "torch", "torchaudio", "transformers", "numpy")
"""Packages that decide about results, or about what a checkpoint can be read with."""
SEEN_WITHIN_S = 10.0  # a network file system shows a new file to other hosts after seconds
_BYTES = 2**20


@dataclass(frozen=True)
class Needed:
    """A path that runs read.

    Attributes:
        what: what names the path: a flag, a variable, or a task's configuration.
        size: bytes of a file; None for a folder.
    """

    what: str
    path: str
    size: int | None


@dataclass(frozen=True)
class Probe:
    """What every host is compared with, as plain values.

    Attributes:
        folder: absolute path of the suite's folder, which all hosts share.
        word: random text in the folder's file `PROBE`. The word stays the same for a later controlling process, because
            runs of an earlier one may still wait in a queue.
        versions: by package.
        reads: paths that runs read.
        cache: folder of cached features; each host may have one of its own under this path.
    """

    folder: str
    word: str
    versions: Mapping[str, str]
    reads: Sequence[Needed] = ()
    cache: str | None = None


def write_probe(folder: Path, reads: Sequence[Needed] = (), cache: Path | None = None) -> Probe:
    """Writes the probe of a suite's folder, which is made if missing, and removes the answers to an earlier one.

    Raises:
        UserError: the folder cannot be written.
    """
    folder = folder.absolute()
    word = _word(folder) or secrets.token_hex(8)
    probe = Probe(str(folder), word, versions(), tuple(reads), None if cache is None else str(cache.absolute()))
    for path in folder.glob(_answer("*")):
        path.unlink(missing_ok=True)
    write_text(folder / PROBE, json.dumps(asdict(probe), indent=2) + "\n")
    return probe


@contextlib.contextmanager
def laid(folder: Path, reads: Sequence[Needed] = (), cache: Path | None = None) -> Iterator[Probe]:
    """`write_probe`; a folder that was new is as it was if the block fails, since no run has started."""
    before = {path.name for path in folder.glob("*")}
    try:
        yield write_probe(folder, reads, cache)
    except UserError:
        for path in [*folder.glob(_answer("*")), folder / PROBE]:
            if path.name not in before:
                path.unlink(missing_ok=True)
        raise


def read_probe(path: str | Path) -> Probe:
    """The probe of a file that `write_probe` has written; UserError if the file is missing or broken."""
    content = read_json(path, _BYTES)
    try:
        return Probe(**{**content, "reads": tuple(Needed(**one) for one in content["reads"])})
    except (TypeError, KeyError) as error:
        raise UserError(
            f"{path}: found no probe of this version in it ({error}); repeat the suite's command"
        ) from error


def needed(suite: Suite, data: str | None) -> list[Needed]:
    """The paths that the runs of a suite read, in order; UserError for one that this host lacks.

    Args:
        data: value of SUPERB_DATA.
    """
    found: dict[str, str] = {}
    if data is not None:
        found[os.path.abspath(data)] = "SUPERB_DATA"
        for name, text in suite.paths():
            found.setdefault(os.path.abspath(text.replace("${SUPERB_DATA}", data)), f"corpus of {name}")
    for model in suite.models:
        if model.checkpoint is not None:
            found.setdefault(str(model.checkpoint.absolute()), f"--student {model.distillation}")
    if suite.lm is not None:
        found.setdefault(str(suite.lm.absolute()), "--lm")
    for task in suite.tasks:
        found.setdefault(str(suite.config_file(task).absolute()), f"configuration of {task.name}")
    return [Needed(what, path, _size(what, path)) for path, what in found.items()]


@functools.cache
def versions() -> dict[str, str]:
    """Versions of Python, of this package with a hash of its code, and of the packages in `COMPARED`."""
    python = ".".join(platform.python_version_tuple()[:2])
    return {"Python": python, OWN: __version__, CODE: _code_hash(), **{name: _version(name) for name in COMPARED}}


def problems(probe: Probe, host: str, wait_s: float = SEEN_WITHIN_S) -> list[str]:
    """On a host: what keeps runs from it, one line each; the answer with these lines is written beside the probe.

    Args:
        host: name that the lines begin with.
        wait_s: seconds in which the probe must be seen.
    """
    folder = Path(probe.folder)
    if not _within(wait_s, lambda: _word(folder) == probe.word):
        seen = "another folder of that name" if folder.is_dir() else "no such folder"
        remedy = "mount one shared folder under this path on every host, or give another --out"
        return [f"{host}: --out {folder}: found {seen}, expected the folder that the suite runs in; {remedy}"]
    found = [f"{host}: {line}" for line in (*_version_problems(probe), *_path_problems(probe))]
    try:
        write_text(folder / _answer(host), json.dumps({"word": probe.word, "problems": found}) + "\n")
    except UserError as error:
        found.append(f"{host}: --out {folder}: found a folder that this host cannot write ({error})")
    return found


def answered(probe: Probe, host: str, wait_s: float = SEEN_WITHIN_S) -> list[str]:
    """On the controlling host: the lines that `problems` wrote on a host, or one line if no answer is seen."""
    path = Path(probe.folder) / _answer(host)
    if _within(wait_s, lambda: _answer_in(path, probe.word) is not None):
        return list(_answer_in(path, probe.word) or ())
    remedy = "mount one shared folder under this path on every host, or give another --out"
    return [f"{host}: --out {probe.folder}: what this host wrote there is not seen by the controlling host; {remedy}"]


def refuse(found: Sequence[str]) -> None:
    """Raises one UserError for all problems of all hosts, if there are any."""
    if found:
        head = "not every host can take runs, so none was started:"
        raise UserError("\n  ".join([head, *shortened(found, SHOWN)]))


def _version_problems(probe: Probe) -> Iterator[str]:
    here = versions()
    for name, wanted in probe.versions.items():
        if here.get(name) != wanted:
            remedy = "install the same version on every host"
            yield f"{name}: found {here.get(name)}, expected {wanted} as on the controlling host; {remedy}"
            if name == OWN:
                return  # its code differs, too


def _path_problems(probe: Probe) -> Iterator[str]:
    missing: list[str] = []
    for one in probe.reads:
        if any(one.path.startswith(f"{path}{os.sep}") for path in missing):
            continue  # one line for a folder and all that is in it
        size = _size_there(one.path)
        if size == one.size:
            continue
        missing.append(one.path)
        kinds = [_kind(size), _kind(one.size)]
        yield f"{one.what} {one.path}: found {kinds[0]}, expected {kinds[1]}; give every host the same file here"
    if probe.cache is not None:
        try:
            check_writable(Path(probe.cache), "--cache-features", folder=True)
        except UserError as error:
            yield str(error)


def _kind(size: int | None) -> str:
    return "a folder" if size is None else "nothing that can be read" if size < 0 else f"a file of {size:,} bytes"


def _size(what: str, path: str) -> int | None:
    size = _size_there(path)
    if size is not None and size < 0:
        raise UserError(f"{what} {path}: found nothing that can be read, expected a file or folder; check the path")
    return size


def _size_there(path: str) -> int | None:
    """Bytes of a file, None for a folder, -1 for what is not there or cannot be read."""
    if not os.access(path, os.R_OK):
        return -1
    return None if os.path.isdir(path) else os.path.getsize(path)


def _within(seconds: float, condition: Any) -> bool:
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            return False
        time.sleep(0.1)
    return True


def _answer(host: str) -> str:
    name = host if host == "*" else re.sub(r"[^\w.-]+", "_", host)[:100]
    return f".superb_probe.answer-{name}.json"


def _word(folder: Path) -> str | None:
    """The word in a folder's probe; None without a probe that can be read."""
    with contextlib.suppress(UserError):
        content = read_json(folder / PROBE, _BYTES)
        return str(content["word"]) if isinstance(content, dict) and "word" in content else None
    return None


def _answer_in(path: Path, word: str) -> list[str] | None:
    with contextlib.suppress(UserError):
        content = read_json(path, _BYTES)
        if isinstance(content, dict) and content.get("word") == word:
            return [str(line) for line in content.get("problems", ())]
    return None


def _version(package: str) -> str:
    try:
        return metadata.version(package).partition("+")[0]  # +cpu and +cu128 are builds of one version
    except metadata.PackageNotFoundError:
        return "none"


def _code_hash() -> str:
    """A hash of the sources of this package, since a checkout keeps its version while it changes."""
    digest = hashlib.sha256()
    for path in sorted(shipped.PACKAGE_DIR.rglob("*.py")):
        digest.update(path.relative_to(shipped.PACKAGE_DIR).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:12]

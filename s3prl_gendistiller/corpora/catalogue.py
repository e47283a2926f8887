"""The corpora of all SUPERB tasks: writing and checking."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from s3prl_gendistiller.corpora import fluent, iemocap, libri2mix, librispeech, quesst, snips, speech_commands, voxceleb
from s3prl_gendistiller.corpora.espeak import Espeak
from s3prl_gendistiller.corpora.folder import count, damage, is_ours, is_sealed, write_plans
from s3prl_gendistiller.corpora.recording import Recorder
from s3prl_gendistiller.errors import UserError

TASKS: dict[str, ModuleType] = {
    "pr": librispeech,
    "asr": librispeech,
    "ks": speech_commands,
    "qbe": quesst,
    "sid": voxceleb,
    "asv": voxceleb,
    "sd": libri2mix,
    "ic": fluent,
    "sf": snips,
    "er": iemocap,
}
"""SUPERB's task -> the module of the corpus that it uses."""
SIZES = ("tiny", "small", "medium", "bench")
"""tiny takes seconds to write, for tests; small is about 3.6 hours of speech, medium about 10.

bench trains on about as much as small and tests on ten times as much, so that small differences show; its QbE, SID,
ASV and SD are harder.
"""


class State(NamedTuple):
    """Result of the check of one corpus folder."""

    root: Path
    files: int
    problems: list[str]


def write_corpora(
    out: str | Path,
    *,
    size: str = "tiny",
    seed: int = 0,
    tasks: Sequence[str] = tuple(TASKS),
    workers: int | None = None,
    progress: bool = True,
) -> list[Path]:
    """Writes the corpora of the tasks below `out`, the folder that SUPERB_DATA is to name; returns their folders.

    The same arguments give the same bytes. A repeated call finishes an interrupted one, and writes files again that are
    missing or differ from their checksums.

    Raises:
        UserError: the size or a task is unknown, espeak-ng is missing, or a folder holds something else.
    """
    known("--size", [size], SIZES)
    modules = _modules(tasks)
    engine = Espeak()
    plans = [plan for module in modules for plan in module.plans(engine, size, seed)]
    with Recorder(workers, progress=progress) as recorder:
        return write_plans(Path(out), plans, recorder)


def check_corpora(out: str | Path, tasks: Sequence[str] | None = None) -> list[State]:
    """Compares the corpora of the tasks, which must exist, or all corpora that exist, with their checksums.

    Raises:
        UserError: no such folder, or no corpus of this package in it.
    """
    out = Path(out)
    if not out.is_dir():
        raise UserError(f"{out}: no such folder; expected one that `gendistiller corpus` wrote; correct the path")
    wanted = [] if tasks is None else [name for module in _modules(tasks) for name in folders(module)]
    there = sorted(entry.name for entry in out.iterdir() if is_ours(entry))
    if not there and not wanted:
        raise UserError(f"{out}: found no corpus of this command in it, expected one; run gendistiller corpus {out}")
    return [_state(out / name) for name in (wanted or there)]


def is_synthetic(out: str | Path) -> bool:
    """Whether a folder of corpora holds one of this package."""
    return Path(out).is_dir() and any(map(is_ours, Path(out).iterdir()))


def folders(module: ModuleType) -> list[str]:
    """The names of the folders that a corpus consists of."""
    names = [module.FOLDER]
    return [*names, module.TEST_FOLDER] if module is speech_commands else names


def known(flag: str, found: Sequence[str], expected: Sequence[str]) -> None:
    """Raises a UserError for a name that is not among the expected ones; the message proposes the most similar one."""
    for name in found:
        if name not in expected:
            close = difflib.get_close_matches(name, expected, n=1, cutoff=0.5)
            meant = f"; did you mean {close[0]}?" if close else ""
            raise UserError(f"{flag}: found {name}, expected one of {', '.join(expected)}{meant}")


def _modules(tasks: Sequence[str]) -> list[ModuleType]:
    """Each corpus once, in the order of `TASKS`."""
    known("--tasks", tasks, tuple(TASKS))
    return list(dict.fromkeys(TASKS[task] for task in TASKS if task in tasks))


def _state(root: Path) -> State:
    again = "repeat the command that wrote the corpus"
    if not root.exists():
        return State(root, 0, [f"{root}: no such folder; {again}"])
    if not is_ours(root):
        return State(root, 0, [f"{root}: not written by this command, so it cannot be checked"])
    if not is_sealed(root):
        return State(root, 0, [f"{root}: not finished; {again} to continue"])
    problems = [f"{file.path}: {file.found}; {again} to write the file again" for file in damage(root)]
    return State(root, count(root), problems)

"""What s3prl's experts write when they test, read strictly: lines whole, numbers finite, ids in their places.

text     UTTERANCE HYPOTHESIS               ctc (PR, SF) and asr: the hypothesis may be empty
label    UTTERANCE CLASS                    speech_commands, voxceleb1, emotion
slots    UTTERANCE,ACTION,OBJECT,LOCATION   fluent_commands
score    UTTERANCE_UTTERANCE SCORE          sv_voxceleb1
metric   NAME VALUE                         enhancement_stft, separation_stft
row      UTTERANCE<tab>HYPOTHESIS<tab>REFERENCE, a header first   speech_translation
stdlist  XML, a score for each query and document                 quesst14_dtw
frames   a folder of HDF5, T_hat (T, speakers) for each recording  diarization
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.superb.entry.expected import Expected
from s3prl_gendistiller.superb.tasks.mtwv import read_stdlist

FRAME_SHIFT = "frame_shift"
SHOWN = 3

_FORMS = {
    "text": (r"(\S+) (.*)", "UTTERANCE HYPOTHESIS"),
    "label": (r"(\S+) (\S+)", "UTTERANCE CLASS"),
    "slots": (r"([^,]+),[^,]*,[^,]*,([^,]*)", "UTTERANCE,ACTION,OBJECT,LOCATION"),
    "score": (r"(\S+) (\S+)", "UTTERANCE_UTTERANCE SCORE"),
    "metric": (r"(\S+) (\S+)", "NAME VALUE"),
    "row": (r"([^\t]+)\t[^\t]*\t(.*)", "three fields between tabs"),
}
_NUMBERS = ("score", "metric")
_MAY_REPEAT = ("score", "row")


@dataclass
class Predictions:
    """One part of a submission.

    Attributes:
        ids: of what is predicted, in the file's order; "QUERY DOCUMENT" of a stdlist.
        problems: each names its line or utterance.
        frames: of each recording, where predictions come frame by frame.
        frame_samples: samples per frame of those.
    """

    ids: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    frames: dict[str, int] = field(default_factory=dict)
    frame_samples: int = 0


def read_predictions(path: Path, form: str) -> Predictions:
    """
    Args:
        path: the file, or the folder of "frames".
        form: of the module's table.
    """
    if form == "frames":
        return _read_frames(path)
    if not path.is_file():
        return Predictions(problems=["no such file; evaluate this run on its test set"])
    return _read_list(path) if form == "stdlist" else _read_lines(path, form)


def read_ids(path: Path, form: str) -> list[str]:
    """The ids of a file of lines, as they stand; none if there is no such file."""
    return _read_lines(path, form).ids if path.is_file() else []


def differences(found: Predictions, expected: Expected) -> list[str]:
    """In what the ids of `found` are not those of `expected`: missing, foreign, too often, out of order, too short."""
    wanted, given = Counter(expected.ids), Counter(found.ids)
    missing, foreign = list((wanted - given).elements()), list((given - wanted).elements())
    if missing or foreign:
        parts = [f"{len(found.ids)} predictions, expected {len(expected.ids)} by {expected.source}"]
        parts += [f"missing {_some(missing)}"] if missing else []
        parts += [f"too many or foreign {_some(foreign)}"] if foreign else []
        return ["; ".join(parts)]
    misplaced = _first_misplaced(found.ids, expected)
    if misplaced is not None:
        return [misplaced]
    return [
        f"{name}: {found.frames[name]} frames, expected at least {samples // found.frame_samples}"
        for name, samples in expected.samples.items()
        if found.frame_samples and found.frames.get(name, math.inf) < samples // found.frame_samples
    ]


def _first_misplaced(ids: Sequence[str], expected: Expected) -> str | None:
    """What is said of the first id that does not stand where it should."""
    if expected.ranks is None:
        for number, (name, wanted) in enumerate(zip(ids, expected.ids, strict=True), start=1):
            if name != wanted:
                return f"line {number}: found {name}, expected {wanted}, the order of {expected.source}"
        return None
    rank = dict(zip(expected.ids, expected.ranks, strict=True))
    begun: set[int] = set()
    before = None
    for number, name in enumerate(ids, start=1):
        here = rank[name]
        if expected.in_blocks and here != before and here in begun:
            return f"line {number}: {name} stands apart from its class; {expected.source} is read class by class"
        if not expected.in_blocks and before is not None and here < before:
            return f"line {number}: {name} is longer than the one before it; {expected.source} is read longest first"
        begun.add(here)
        before = here
    return None


def _read_lines(path: Path, form: str) -> Predictions:
    found = Predictions()
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        return Predictions(problems=[f"not text in UTF-8 ({error.reason} at byte {error.start})"])
    if not text:
        return Predictions(problems=["is empty"])
    lines = text.split("\n")
    if lines.pop():
        found.problems.append(f"line {len(lines) + 1}: cut off; the file ends without the end of its last line")
    pattern, shape = _FORMS[form]
    for number, line in enumerate(lines, start=1):
        match = re.fullmatch(pattern, line)
        if match is None:
            found.problems.append(f"line {number}: found {line[:60]!r}, expected {shape}")
            continue
        found.ids.append(match[1])
        if form in _NUMBERS and not _is_finite(match[2]):
            found.problems.append(f"line {number}: {match[1]} has {match[2]}, expected a finite number")
    if form not in _MAY_REPEAT:
        found.problems += [f"{name} stands there {count} times" for name, count in _repeated(found.ids)]
    return _shortened(found)


def _read_list(path: Path) -> Predictions:
    try:
        scores = read_stdlist(path)
    except UserError as error:
        return Predictions(problems=[str(error).removeprefix(f"{path}: ")])
    found = Predictions([f"{query} {document}" for query, of_query in scores.items() for document in of_query])
    if not found.ids:
        found.problems.append("holds no score")
    documents = {document for of_query in scores.values() for document in of_query}
    for query, of_query in scores.items():
        found.problems += [
            f"{query}: the score of {document} is {score}, expected a finite number"
            for document, score in of_query.items()
            if not math.isfinite(score)
        ]
        absent = sorted(documents - of_query.keys())
        found.problems += [f"{query}: no score for {_some(absent)}"] if absent else []
    return _shortened(found)


def _read_frames(folder: Path) -> Predictions:
    import h5py
    import numpy as np

    if not folder.is_dir():
        return Predictions(problems=["no such folder; evaluate this run on its test set"])
    found = Predictions()
    for path in sorted(folder.iterdir()):
        if path.suffix != ".h5":
            found.problems.append(f"{path.name}: found a file that is no .h5; remove it")
            continue
        found.ids.append(path.stem)
        try:
            with h5py.File(path, "r") as file:
                values = np.asarray(file["T_hat"], dtype=np.float64)
        except (OSError, KeyError, TypeError, ValueError, RuntimeError, MemoryError) as error:
            found.problems.append(f"{path.name}: not readable ({error}), expected T_hat in a whole HDF5 file")
            continue
        if values.ndim != 2 or not np.isfinite(values).all():
            shape = "x".join(map(str, values.shape))
            found.problems.append(f"{path.name}: T_hat of {shape}, expected T x speakers of finite numbers")
        else:
            found.frames[path.stem] = len(values)
    if not found.ids:
        found.problems.append("holds no .h5")
    shift = folder.parents[1] / FRAME_SHIFT
    text = shift.read_text(encoding="utf-8", errors="replace").strip() if shift.is_file() else "no such file"
    if text.isdecimal() and len(text) < 10 and int(text) > 0:
        found.frame_samples = int(text)
    else:
        found.problems.append(
            f"{FRAME_SHIFT}: {text[:60]}, expected samples per frame, which s3prl writes beside scoring/"
        )
    return _shortened(found)


def _shortened(found: Predictions) -> Predictions:
    surplus = len(found.problems) - SHOWN
    if surplus > 1:
        found.problems = [*found.problems[:SHOWN], f"and {surplus} more of this kind"]
    return found


def _repeated(ids: Sequence[str]) -> Iterator[tuple[str, int]]:
    counts: Mapping[str, int] = Counter(ids)
    return ((name, count) for name, count in counts.items() if count > 1)


def _some(names: Sequence[str]) -> str:
    more = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {more} more" if more > 0 else "")


def _is_finite(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False

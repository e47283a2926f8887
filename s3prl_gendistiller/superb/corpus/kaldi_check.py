"""The Kaldi tables of Libri2Mix, held against what s3prl's diarization takes them for."""

from __future__ import annotations

import io
import math
import os
import re
import reprlib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from s3prl_gendistiller.distill.audio import MIN_SAMPLES, SAMPLE_RATE
from s3prl_gendistiller.distill.files import read_text
from s3prl_gendistiller.errors import few
from s3prl_gendistiller.host.shims.task_data import too_short, unfit
from s3prl_gendistiller.superb.corpus.audio import listen

LEFT_OUT = "are left out"
"""In what s3prl passes over."""
_SHAPES = {"segments": (4, "NAME RECORDING START END"), "utt2spk": (2, "NAME SPEAKER"), "reco2dur": (2, "NAME SECONDS")}
_LATE_S = 0.1
_MEASURED = 2_000


def kaldi_faults(folder: Path, files: Sequence[Path], speakers: int) -> Iterator[str]:
    """What s3prl's diarization would stumble over in the tables of a folder; one line each.

    Args:
        files: of audio, which are the recordings where no wav.scp names them.
        speakers: of a recording, at most.
    """
    if not all((folder / name).is_file() for name in _SHAPES):
        return
    for name, (count, expected) in _SHAPES.items():
        misshapen = list(misshapen_line(folder / name, count, expected))
        if misshapen:
            yield from misshapen
            return
    spoken: dict[str, list[str]] = defaultdict(list)
    for line in full_lines(folder / "segments"):
        name, recording, *_ = line.split()
        spoken[recording].append(name)
    untimely = [line.strip() for line in full_lines(folder / "segments") if not _is_span(*line.split()[2:])]
    if untimely:
        expected = "seconds with 0 <= START < END"
        yield f"{folder / 'segments'}: {len(untimely):,} lines without {expected}: {few(untimely)}; correct them"
    speaker = dict(line.split() for line in full_lines(folder / "utt2spk"))
    seconds = dict(line.split() for line in full_lines(folder / "reco2dur"))
    if (folder / "wav.scp").is_file():
        named = dict((*line.strip().split(None, 1), "")[:2] for line in full_lines(folder / "wav.scp"))
    else:
        named = {file.stem: str(file) for file in files}
    for recording, path in named.items():
        if path.strip().endswith("|") or path.strip() in ("-", ""):
            yield f"{folder / 'wav.scp'}: {recording} is {path.strip()!r}, expected the path of a file; nothing is run"
            return
    faults = list(_incomplete(folder, named, spoken, speaker, seconds, speakers))
    yield from faults or _recordings(folder, named, files)


def _is_span(start: str, end: str) -> bool:
    """Whether a segment lasts from a second to a later one."""
    try:
        return 0 <= float(start) < float(end) < math.inf
    except ValueError:
        return False


def _incomplete(
    folder: Path,
    named: Mapping[str, str],
    spoken: Mapping[str, Sequence[str]],
    speaker: Mapping[str, str],
    seconds: Mapping[str, str],
    speakers: int,
) -> Iterator[str]:
    """What the tables of a folder do not say of its recordings."""
    for table, there in (("reco2dur", seconds.keys()), ("segments", spoken.keys())):
        lacking = [recording for recording in named if recording not in there]
        if lacking:
            yield f"{folder / table}: no line for {len(lacking):,} recordings: {few(lacking)}"
    unheard = [recording for recording in seconds if recording not in named]
    if named and unheard:
        yield f"{folder / 'reco2dur'}: {len(unheard):,} recordings have no audio file and {LEFT_OUT}: {few(unheard)}"
    nobody = [name for names in spoken.values() for name in names if name not in speaker]
    if nobody:
        yield f"{folder / 'utt2spk'}: no line for {len(nobody):,} names of segments: {few(nobody)}"
    crowded = [r for r, names in spoken.items() if len({speaker.get(name) for name in names}) > speakers]
    if crowded:
        yield f"{folder / 'segments'}: {len(crowded):,} recordings have more than {speakers} speakers: {few(crowded)}"
    for recording in named:
        lasts = seconds.get(recording, "1")
        if not re.fullmatch(r"\d+(\.\d*)?", lasts) or not 0 < float(lasts) < math.inf:
            yield f"{folder / 'reco2dur'}: {recording} lasts {reprlib.repr(lasts)}, expected seconds above 0"


def _recordings(folder: Path, named: Mapping[str, str], files: Sequence[Path]) -> Iterator[str]:
    """Of recordings that are there: how long they are and, where they are not among `files`, of which form."""
    seconds = dict(line.split() for line in full_lines(folder / "reco2dur"))
    looked_at = {str(file) for file in files}
    for recording, path in [*named.items()][:: -(-len(named) // _MEASURED) or 1]:
        heard = listen(Path(path))
        if not os.path.exists(path) or ((heard.fault or not heard.frames) and path in looked_at):
            continue  # which is said of the list, or of the file
        if heard.fault or not heard.frames:
            yield heard.fault or f"{path}: holds no audio"
        elif path not in looked_at and (heard.rate_hz, heard.channels) != (SAMPLE_RATE, 1):
            yield f"{path}: {unfit(heard.rate_hz, heard.channels, SAMPLE_RATE)}"
        elif path not in looked_at and heard.frames < MIN_SAMPLES:
            yield f"{path}: {too_short(heard.frames, heard.rate_hz)}"
        elif heard.frames / heard.rate_hz < float(seconds.get(recording, 0)) - _LATE_S:
            lasts = heard.frames / heard.rate_hz
            yield f"{folder / 'reco2dur'}: {recording} lasts {seconds[recording]} s, but {path} only {lasts:.2f} s"


def misshapen_line(path: Path, count: int, expected: str) -> Iterator[str]:
    """The first line of a list that has not as many fields as s3prl takes it for."""
    for number, line in enumerate(full_lines(path), start=1):
        if len(line.split()) != count:
            yield f"{path} line {number}: found {line.strip()!r}, expected {expected}"
            return


def full_lines(path: Path) -> list[str]:
    """Without empty ones, which our stand-ins for s3prl's readers pass over."""
    return [line for line in io.StringIO(read_text(path)) if line.strip()]

"""DER of speaker diarization, from the predictions of s3prl's expert and the reference RTTM.

What s3prl's `score.sh` computes with dscore (NIST's md-eval): speakers are matched one to one so that matched time is
longest; time is scored where the reference speaks, overlaps included; per moment, with r reference speakers, h
hypothesised ones and c matched among both, missed is max(0, r - h), false alarm max(0, h - r), confused min(r, h) - c.
The sum over their durations, divided by the sum of r, is the DER. `score.sh` gives no collar, and dscore's is 0; with
a collar, time that close to a boundary of the reference is left out.

The predictions become turns by a threshold (0.3 to 0.7) with or without a median filter over 11 frames. SUPERB reports
the lowest of these ten on the test set, and so does `score_run`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from s3prl_gendistiller.errors import UserError

SAMPLE_RATE = 16_000
THRESHOLDS = (0.3, 0.4, 0.5, 0.6, 0.7)
MEDIANS = (1, 11)


class Turn(NamedTuple):
    """One speaker's stretch of speech, in seconds."""

    speaker: str
    start: float
    end: float


@dataclass(frozen=True)
class Errors:
    """Durations in seconds; `scored` counts overlapping speech once for each speaker."""

    missed: float = 0.0
    false_alarm: float = 0.0
    confused: float = 0.0
    scored: float = 0.0

    def __add__(self, other: Errors) -> Errors:
        return Errors(
            self.missed + other.missed,
            self.false_alarm + other.false_alarm,
            self.confused + other.confused,
            self.scored + other.scored,
        )

    @property
    def rate(self) -> float:
        """The DER; 1 is as much error as speech."""
        if self.scored <= 0:
            raise UserError("DER: the reference holds no speech to score; look at the test set's rttm")
        return (self.missed + self.false_alarm + self.confused) / self.scored


def diarization_errors(reference: Sequence[Turn], hypothesis: Sequence[Turn], collar_seconds: float = 0.0) -> Errors:
    """The errors in one recording.

    Args:
        collar_seconds: left out on both sides of each start and end of a reference turn.
    """
    near = [time + side for turn in reference for time in turn[1:] for side in (-collar_seconds, collar_seconds)]
    times = np.unique([*near, *(time for turn in (*reference, *hypothesis) for time in turn[1:])])
    if len(times) < 2:
        return Errors()
    middle, duration = (times[1:] + times[:-1]) / 2, np.diff(times)
    spoken, heard = _activity(reference, middle), _activity(hypothesis, middle)  # (speakers, moments)
    pairs = _matching((spoken * duration) @ heard.T)
    matched = sum((spoken[ours] * heard[theirs] for ours, theirs in pairs), start=np.zeros(len(middle)))
    kept = duration * (1 - _within_collar(reference, middle, collar_seconds))
    wanted, found = spoken.sum(axis=0), heard.sum(axis=0)
    return Errors(
        missed=float((np.maximum(wanted - found, 0) * kept).sum()),
        false_alarm=float((np.maximum(found - wanted, 0) * kept).sum()),
        confused=float(((np.minimum(wanted, found) - matched) * kept).sum()),
        scored=float((wanted * kept).sum()),
    )


def turns_of(probabilities: np.ndarray, frame_seconds: float, threshold: float, median: int = 1) -> list[Turn]:
    """Frame-wise predictions as turns.

    Args:
        probabilities: (T, speakers), 0 to 1.
        frame_seconds: of one frame.
        threshold: speech is above it.
        median: frames of the median filter, odd; beyond both ends is silence.
    """
    active = (probabilities > threshold).astype(int)
    if median > 1:
        padded = np.pad(active, ((median // 2, median // 2), (0, 0)))
        sums = np.cumsum(np.pad(padded, ((1, 0), (0, 0))), axis=0)
        active = (sums[median:] - sums[:-median] > median // 2).astype(int)
    turns = []
    for speaker, frames in enumerate(active.T):
        edges = np.flatnonzero(np.diff(np.pad(frames, 1)))
        turns += [
            Turn(str(speaker), start * frame_seconds, end * frame_seconds)
            for start, end in zip(edges[::2], edges[1::2], strict=True)
        ]
    return turns


def read_rttm(path: Path) -> dict[str, list[Turn]]:
    """Recording -> turns, from lines ``SPEAKER RECORDING 1 START DURATION <NA> <NA> NAME <NA>``.

    Raises:
        UserError: it is missing or a line is broken.
    """
    found: dict[str, list[Turn]] = {}
    try:
        for line in path.read_text(encoding="utf-8").splitlines():
            fields = line.split()
            if fields[:1] == ["SPEAKER"]:
                start, duration = float(fields[3]), float(fields[4])
                found.setdefault(fields[1], []).append(Turn(fields[7], start, start + duration))
    except (OSError, ValueError, IndexError) as error:
        raise UserError(f"{path}: expected RTTM lines with start and duration, found {error}") from error
    return found


def score_run(folder: Path, rttm: Path, collar_seconds: float = 0.0) -> dict[str, float]:
    """DER by ``threshold/median`` of an evaluated run of s3prl's diarization; the lowest is SUPERB's.

    Args:
        folder: of the run; the predictions are in scoring/predictions, samples per frame in frame_shift.
        rttm: the test set's reference.

    Raises:
        UserError: there are no predictions, or not for every recording of the reference.
    """
    import h5py

    reference = read_rttm(rttm)
    predictions = {}
    for name in reference:
        path = folder / "scoring" / "predictions" / f"{name}.h5"
        if not path.is_file():
            raise UserError(f"{path}: no prediction for this recording of {rttm}; evaluate the run on its test set")
        with h5py.File(path, "r") as file:
            predictions[name] = np.asarray(file["T_hat"])
    frame_seconds = int((folder / "frame_shift").read_text(encoding="utf-8")) / SAMPLE_RATE
    return {
        f"{threshold}/{median}": _rate(reference, predictions, frame_seconds, threshold, median, collar_seconds)
        for threshold in THRESHOLDS
        for median in MEDIANS
    }


def _rate(
    reference: Mapping[str, Sequence[Turn]],
    predictions: Mapping[str, np.ndarray],
    frame_seconds: float,
    threshold: float,
    median: int,
    collar_seconds: float,
) -> float:
    parts = (
        diarization_errors(turns, turns_of(predictions[name], frame_seconds, threshold, median), collar_seconds)
        for name, turns in reference.items()
    )
    return sum(parts, start=Errors()).rate


def _activity(turns: Iterable[Turn], moments: np.ndarray) -> np.ndarray:
    """(speakers, moments): 1 where a speaker speaks."""
    turns = list(turns)
    names = sorted({turn.speaker for turn in turns})
    active = np.zeros((len(names), len(moments)))
    for turn in turns:
        active[names.index(turn.speaker)][(moments > turn.start) & (moments < turn.end)] = 1
    return active


def _matching(shared: np.ndarray) -> list[tuple[int, int]]:
    """Pairs of reference and hypothesis speakers that share most time."""
    from scipy.optimize import linear_sum_assignment

    rows, columns = linear_sum_assignment(shared, maximize=True)
    return [(int(row), int(column)) for row, column in zip(rows, columns, strict=True)]


def _within_collar(reference: Iterable[Turn], moments: np.ndarray, collar_seconds: float) -> np.ndarray:
    near = np.zeros(len(moments))
    for turn in reference:
        for time in turn[1:]:
            near[np.abs(moments - time) < collar_seconds] = 1
    return near

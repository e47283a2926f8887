"""DER of speaker diarization, from the predictions of s3prl's expert and the reference RTTM.

What s3prl's `score.sh` computes with dscore (NIST's md-eval): speakers are matched one to one so that matched time is
longest; time is scored where the reference has speech, overlaps included. At a moment with r reference speakers, h
speakers of the hypothesis and c matched pairs, missed is max(0, r - h), false alarm max(0, h - r), confused
min(r, h) - c. The sum over their durations, divided by the sum of r, is the DER. No time is left out around the
boundaries of the reference: `score.sh` gives no collar, and dscore's default is 0.

The predictions become turns by a threshold (0.3 to 0.7) with or without a median filter over 11 frames. SUPERB reports
the lowest of these ten rates on the test set.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from pathlib import Path

import numpy as np

from s3prl_gendistiller.distill.audio import SAMPLE_RATE
from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.formats.rttm import Turn, read_turns

PREDICTIONS, FRAME_SHIFT = "scoring/predictions", "frame_shift"
"""Names in a run's folder: the folder of predictions, and the file with the samples per frame."""
THRESHOLDS = (0.3, 0.4, 0.5, 0.6, 0.7)
MEDIANS = (1, 11)


@dataclass(frozen=True)
class Errors:
    """Durations in seconds; `scored` counts overlapping speech once for each speaker."""

    missed: float = 0.0
    false_alarm: float = 0.0
    confused: float = 0.0
    scored: float = 0.0

    def __add__(self, other: Errors) -> Errors:
        return Errors(*map(operator.add, astuple(self), astuple(other)))

    @property
    def rate(self) -> float:
        """The DER as a fraction: at 1, errors last as long as the scored speech."""
        if self.scored <= 0:
            raise UserError("DER: the reference holds no speech to score; look at the test set's rttm")
        return self.wrong / self.scored

    @property
    def wrong(self) -> float:
        """The duration of all errors."""
        return self.missed + self.false_alarm + self.confused


def diarization_errors(reference: Sequence[Turn], hypothesis: Sequence[Turn]) -> Errors:
    """The errors in one recording."""
    from scipy.optimize import linear_sum_assignment

    times = np.unique([time for turn in (*reference, *hypothesis) for time in turn[1:]])
    if len(times) < 2:
        return Errors()
    middle, duration = (times[1:] + times[:-1]) / 2, np.diff(times)
    spoken, claimed = _activity(reference, middle), _activity(hypothesis, middle)  # (speakers, moments)
    ours, theirs = linear_sum_assignment((spoken * duration) @ claimed.T, maximize=True)  # shares the most time
    matched = (spoken[ours] * claimed[theirs]).sum(axis=0)
    wanted, found = spoken.sum(axis=0), claimed.sum(axis=0)
    return Errors(
        missed=float((np.maximum(wanted - found, 0) * duration).sum()),
        false_alarm=float((np.maximum(found - wanted, 0) * duration).sum()),
        confused=float(((np.minimum(wanted, found) - matched) * duration).sum()),
        scored=float((wanted * duration).sum()),
    )


def turns_of(probabilities: np.ndarray, frame_seconds: float, threshold: float, median: int = 1) -> list[Turn]:
    """Frame-wise predictions as turns; speech is above the threshold.

    Args:
        probabilities: (T, speakers), 0 to 1.
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


def score_run(folder: Path, rttm: Path) -> dict[str, float]:
    """DER by ``threshold/median`` of an evaluated run of s3prl's diarization; the lowest is SUPERB's. As below."""
    found = errors_of_run(folder, rttm)
    return {key: sum(errors.values(), start=Errors()).rate for key, errors in found.items()}


def errors_of_run(folder: Path, rttm: Path) -> dict[str, dict[str, Errors]]:
    """The errors in each recording, by ``threshold/median`` and the recording's name.

    Args:
        rttm: the test set's reference; a recording without predictions is a UserError.
    """
    import h5py

    reference = read_turns(rttm)
    predictions = {}
    for name in reference:
        path = folder / PREDICTIONS / f"{name}.h5"
        if not path.is_file():
            raise UserError(f"{path}: no prediction for this recording of {rttm}; evaluate the run on its test set")
        with h5py.File(path, "r") as file:
            predictions[name] = np.asarray(file["T_hat"])
    frame_s = int((folder / FRAME_SHIFT).read_text(encoding="utf-8")) / SAMPLE_RATE

    def errors(threshold: float, median: int) -> dict[str, Errors]:
        return {
            name: diarization_errors(turns, turns_of(predictions[name], frame_s, threshold, median))
            for name, turns in reference.items()
        }

    return {f"{threshold}/{median}": errors(threshold, median) for threshold in THRESHOLDS for median in MEDIANS}


def _activity(turns: Sequence[Turn], moments: np.ndarray) -> np.ndarray:
    """(speakers, moments): 1 where a speaker speaks."""
    names = sorted({turn.speaker for turn in turns})
    active = np.zeros((len(names), len(moments)))
    for turn in turns:
        active[names.index(turn.speaker)][(moments > turn.start_s) & (moments < turn.end_s)] = 1
    return active

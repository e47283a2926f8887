"""Pieces of speech for training: clips of words, joined, and long recordings, cut, to lengths of 2 to 16 s."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from s3prl_gendistiller.distill.audio import SAMPLE_RATE

SHORTEST, LONGEST = 2 * SAMPLE_RATE, 16 * SAMPLE_RATE
_AIM_S = (5.0, 14.0)  # of joined clips
_PAUSE_S = (0.15, 0.4)
_FRAME = SAMPLE_RATE // 50
_QUIET = 10 ** (-35 / 20)  # of the loudest frame: what trimming takes for silence
_MARGIN = 4  # frames that trimming leaves


def trimmed(wav: np.ndarray) -> np.ndarray:
    """A waveform (S,) without silence at its ends, except for 80 ms."""
    loudness = _loudness(wav)
    if not len(loudness) or not loudness.max():
        return wav[:0]
    loud = np.flatnonzero(loudness > _QUIET * loudness.max())
    return wav[max(0, loud[0] - _MARGIN) * _FRAME : (loud[-1] + 1 + _MARGIN) * _FRAME]


def joined(clips: Iterable[np.ndarray], rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Joins clips (S,) of one speaker, in their order, with pauses; cuts those that are too long.

    Yields:
        pieces of `SHORTEST` to `LONGEST` samples; a rest that is shorter is left out.
    """
    parts: list[np.ndarray] = []
    length, aim = 0, rng.uniform(*_AIM_S) * SAMPLE_RATE
    for clip in (part for whole in clips for part in cut(whole)):
        pause = np.zeros(int(rng.uniform(*_PAUSE_S) * SAMPLE_RATE), clip.dtype)
        if parts and (length >= aim or length + len(pause) + len(clip) > LONGEST):
            if length >= SHORTEST:
                yield np.concatenate(parts)
            parts, length, aim = [], 0, rng.uniform(*_AIM_S) * SAMPLE_RATE
        parts += [pause, clip] if parts else [clip]
        length = sum(map(len, parts))
    if length >= SHORTEST:
        yield np.concatenate(parts)


def cut(wav: np.ndarray) -> list[np.ndarray]:
    """A waveform (S,) in as few parts as `LONGEST` allows, cut where it is quietest."""
    count = -(-len(wav) // (LONGEST - SAMPLE_RATE)) if len(wav) > LONGEST else 1
    loudness, places = _loudness(wav), [0]
    for number in range(1, count):
        first = (number * len(wav) // count - SAMPLE_RATE // 2) // _FRAME
        places.append((first + int(loudness[first : first + SAMPLE_RATE // _FRAME].argmin())) * _FRAME)
    return [wav[start:end] for start, end in zip(places, [*places[1:], len(wav)], strict=True)]


def _loudness(wav: np.ndarray) -> np.ndarray:
    """Root mean square of each whole frame of 20 ms."""
    frames = wav[: len(wav) // _FRAME * _FRAME].reshape(-1, _FRAME)
    return np.sqrt(np.square(frames, dtype=np.float64).mean(axis=1))

"""Samples in, frames out, in constant memory: the student reads a window of frames for each piece of new frames.

Piece k holds the frames [k P, (k + 1) P). The student reads these, `before` frames of context before and `after` frames
behind them, fewer at the ends of the audio. Frame t spans the samples [320 t, 320 t + 400) of the whole audio, so that
number and position of the frames are those of the whole audio, however the samples come in.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import torch
from torch import Tensor

from s3prl_gendistiller.inference.feature_models import FeatureModel, TorchStudent
from s3prl_gendistiller.inference.statistics import RunningStatistics
from s3prl_gendistiller.models.moments import Statistics
from s3prl_gendistiller.models.upstream import FRAME_SAMPLES
from s3prl_gendistiller.models.waveforms import MIN_SAMPLES, SAMPLE_RATE

FRAMES_PER_SECOND = SAMPLE_RATE // FRAME_SAMPLES
PART_FRAMES = 250  # of which features are computed at a time: HuBERT's convolutions take 25 MB for a second of audio


def num_frames(samples: int) -> int:
    """Frames of `samples` samples."""
    return max(0, (samples - MIN_SAMPLES) // FRAME_SAMPLES + 1)


def samples_of(frames: int) -> int:
    """Samples that the first `frames` frames span, at least one frame."""
    return (frames - 1) * FRAME_SAMPLES + MIN_SAMPLES


class _Samples:
    """The samples that are still needed, by their positions in the whole audio."""

    def __init__(self) -> None:
        self._parts: list[Tensor] = []
        self._first = self.total = 0

    def add(self, samples: Tensor) -> None:
        self._parts.append(samples)
        self.total += len(samples)

    def slice(self, start: int, stop: int) -> Tensor:
        self._parts = [torch.cat(self._parts)]
        return self._parts[0][start - self._first : stop - self._first]

    def forget(self, before: int) -> None:
        if before > self._first:
            kept = self.slice(before, self.total).clone()  # a view would keep the memory of what is forgotten
            self._parts, self._first = [kept], before


class Reader(Protocol):
    """Gives the hidden states of windows of frames.

    Attributes:
        margin: frames that must be known behind a window.
    """

    margin: int

    def add(self, samples: Tensor) -> None:
        """Takes the next samples (S,)."""

    def known(self, last: bool) -> int:
        """Number of frames up to which windows can be read; `last`: no more samples will come."""

    def read(self, start: int, stop: int, last: bool) -> list[Tensor]:
        """The hidden states (T, D) of the frames [start, stop); `start` never moves back."""


class FeatureReader:
    """Computes the features of each frame once, with the statistics of the whole audio.

    Args:
        model: its student takes features.
        statistics: of the whole audio, or of other audio; None: those of the audio so far.
    """

    def __init__(self, model: TorchStudent, statistics: Statistics | None = None) -> None:
        assert model.front is not None
        self.model, self.front, self.given = model, model.front, statistics
        self.margin: int = self.front.front_end.margin_frames
        self._running = RunningStatistics(self.front, device=model.device) if statistics is None else None
        self._counted = 0  # samples that the running statistics hold
        self._samples = _Samples()
        self._features: Tensor | None = None  # (1, T, C) from frame `_first` on
        self._first = 0

    def add(self, samples: Tensor) -> None:
        self._samples.add(samples)

    def known(self, last: bool) -> int:
        found = num_frames(self._samples.total)
        return found if last else max(0, found - self.margin)

    def read(self, start: int, stop: int, last: bool) -> list[Tensor]:
        done = self._first + (0 if self._features is None else self._features.shape[1])
        new = [self._compute(at, min(at + PART_FRAMES, stop), last) for at in range(done, stop, PART_FRAMES)]
        before = [] if self._features is None else [self._features[:, start - self._first :]]
        self._features, self._first = torch.cat((*before, *new), 1), start
        return [state[0] for state in self.model.states_of(self._features[:, : stop - start])]

    @torch.inference_mode()
    def _compute(self, start: int, stop: int, last: bool) -> Tensor:
        """The features (1, T, C) of new frames."""
        first = max(0, start - self.margin)
        end = samples_of(stop + self.margin)
        if last and stop + self.margin >= num_frames(self._samples.total):
            end = self._samples.total  # a mel frame may begin behind the first of the last frame
        if self._running is not None:
            self._running.add(self._samples.slice(self._counted, end))
            self._counted = max(self._counted, end)
        wavs = self._samples.slice(first * FRAME_SAMPLES, end).unsqueeze(0).to(self.model.device)
        given = self.given if self._running is None else self._running.statistics
        features, _ = self.front(wavs, torch.tensor([wavs.shape[1]]), given)
        self._samples.forget(max(0, stop - self.margin) * FRAME_SAMPLES)
        return features[:, start - first : stop - first]


class WindowReader:
    """Gives the samples of each window to a model that takes no features, whose norms then read the window alone."""

    margin = 0

    def __init__(self, model: FeatureModel) -> None:
        self.model, self._samples = model, _Samples()

    def add(self, samples: Tensor) -> None:
        self._samples.add(samples)

    def known(self, last: bool) -> int:
        return num_frames(self._samples.total)

    def read(self, start: int, stop: int, last: bool) -> list[Tensor]:
        self._samples.forget(start * FRAME_SAMPLES)
        at_end = last and stop == num_frames(self._samples.total)
        end = self._samples.total if at_end else samples_of(stop)
        wavs = self._samples.slice(start * FRAME_SAMPLES, end).unsqueeze(0)
        states, _ = self.model(wavs, torch.tensor([wavs.shape[1]]))
        return [state[0] for state in states]


class FrameStream:
    """Pieces of new frames from samples that come in any portions.

    Args:
        reader: has read nothing yet.
        piece: P, frames of each piece but the last.
        before, after: frames of context.
    """

    def __init__(self, reader: Reader, *, piece: int, before: int, after: int) -> None:
        self.reader, self.piece, self.before, self.after = reader, piece, before, after
        self.frames = 0  # given so far

    def push(self, samples: Tensor) -> Iterator[list[Tensor]]:
        """Takes the next samples (S,), and gives each new piece: its hidden states, each (t, D)."""
        self.reader.add(samples)
        return self._pieces(last=False)

    def finish(self) -> Iterator[list[Tensor]]:
        """The pieces that remain at the end of the audio."""
        return self._pieces(last=True)

    def _pieces(self, last: bool) -> Iterator[list[Tensor]]:
        known = self.reader.known(last)
        while self.frames < known:
            first, end = self.frames, self.frames + self.piece
            if end + self.after > known and not last:
                return
            start, stop = max(0, first - self.before), min(known, end + self.after)
            states = self.reader.read(start, stop, last)
            self.frames = min(end, known)
            yield [state[first - start : self.frames - start] for state in states]

"""A student on a stream: samples as they come, frames as soon as their look-ahead is there."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from s3prl_gendistiller.inference.feature_models import TorchStudent, choose_layers
from s3prl_gendistiller.inference.frame_stream import FRAMES_PER_SECOND, FeatureReader, FrameStream
from s3prl_gendistiller.inference.long_audio import in_frames
from s3prl_gendistiller.models.moments import Statistics
from s3prl_gendistiller.models.student import Student
from s3prl_gendistiller.models.waveforms import MIN_SAMPLES, SAMPLE_RATE, WaveformError, check_numbers, floats

FRAME_S = MIN_SAMPLES / SAMPLE_RATE


class StudentStream:
    """Pushes samples in, gets frames out, in constant memory.

    New frames come in pieces of `piece_s`, however the samples come in. For each piece the student reads `context_s`
    before it and `lookahead_s` behind it. Each frame's features are computed once. The norms over an utterance take
    the statistics of the samples so far.

    Args:
        student: in eval mode, such as `load_student` gives it; it may serve several streams, one call at a time.
        context_s, lookahead_s, piece_s: seconds, in steps of 20 ms.
        layers: indices of the hidden states, as of `hidden_states`; None: all.
        steps: number of layers to generate; None: as the student.
        statistics: of earlier audio, such as `whole_statistics` gives, which stay as they are; None: those so far.

    Attributes:
        latency_s: longest time from the first sample of a frame to the sample that lets the frame out. The time to
            compute a piece comes in addition.
        frames: number of frames so far.

    Raises:
        UserError: a duration or a layer is out of range, or the student takes no features of its front end.
    """

    def __init__(
        self,
        student: Student,
        *,
        context_s: float = 10.0,
        lookahead_s: float = 0.5,
        piece_s: float = 0.5,
        layers: Sequence[int] | int | None = None,
        steps: int | None = None,
        statistics: Statistics | None = None,
    ) -> None:
        if not isinstance(student, Student):
            raise WaveformError(
                f"student: found {type(student).__name__}, expected a student; give load_student(PLACE)"
            )
        piece = in_frames(piece_s, "piece_s", 1)
        before, after = in_frames(context_s, "context_s", 0), in_frames(lookahead_s, "lookahead_s", 0)
        device = str(next(student.parameters()).device)
        self._model = TorchStudent(student, type(student).__name__, steps=steps, device=device)
        if self._model.front is None:
            raise WaveformError(f"student: found a {self._model.name}, expected one that takes features in its call")
        self._layers = choose_layers(layers, self._model)
        reader = FeatureReader(self._model, statistics)
        self._stream = FrameStream(reader, piece=piece, before=before, after=after)
        self.latency_s = (piece + after + reader.margin - 1) / FRAMES_PER_SECOND + FRAME_S
        self._samples, self._ended = 0, False

    @property
    def frames(self) -> int:
        return self._stream.frames

    def push(self, samples: Any) -> list[Tensor]:
        """Takes the next samples (S,) at 16 kHz, a tensor or a numpy array of floats between -1 and 1.

        Returns:
            the new frames of each chosen layer, each (t, D); t is 0 where no piece is complete.

        Raises:
            WaveformError: no samples, another shape or type, NaN, or the stream has ended; the stream stays as it was.
        """
        self._refuse_ended()
        wav = floats(samples, "samples")
        if wav.dim() != 1 or not len(wav):
            raise WaveformError(f"samples: found the shape {tuple(wav.shape)}, expected (S,) with at least one sample")
        check_numbers(wav, "samples")
        self._samples += len(wav)
        return self._joined(self._stream.push(wav.detach().cpu().clone()))

    def finish(self) -> list[Tensor]:
        """Ends the stream, and gives the frames that remain, as `push`.

        WaveformError: the stream has ended before, or holds less than one frame (400 samples).
        """
        self._refuse_ended()
        if self._samples < MIN_SAMPLES:
            raise WaveformError(
                f"stream: found {self._samples} samples at its end, expected at least {MIN_SAMPLES}, one frame; push "
                "more before finish()"
            )
        self._ended = True
        return self._joined(self._stream.finish())

    def _refuse_ended(self) -> None:
        if self._ended:
            raise WaveformError("stream: found samples after finish(), expected none; begin another StudentStream")

    def _joined(self, pieces: Iterable[list[Tensor]]) -> list[Tensor]:
        empty = [torch.zeros(0, self._model.width)] * self._model.num_layers
        found = [empty, *pieces]
        return [torch.cat([states[layer] for states in found]) for layer in self._layers]

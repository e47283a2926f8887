"""One vector for each frame of audio, as benchmarks take it: one hidden state of a student, or the mean of all."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor, nn

from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.host.students import check_steps, load_student, read_settings
from s3prl_gendistiller.models.upstream import FRAME_SAMPLES
from s3prl_gendistiller.models.waveforms import MIN_SAMPLES, SAMPLE_RATE, WaveformError

CHUNK_SECONDS = 30.0
FRAME_MS = 1000 * FRAME_SAMPLES / SAMPLE_RATE  # from one frame to the next
FIRST_CENTRE_MS = 1000 * MIN_SAMPLES / 2 / SAMPLE_RATE  # the middle of the first frame


class StudentFrames(nn.Module):
    """A frozen student, ``frames(audio (B, S)) -> (B, T, D)``.

    Attributes:
        width: D.

    Args:
        student: a place that `load_student` takes.
        steps: number of layers that a GenDistiller generates; None for all, or as an exported student states.
        layer: index of a hidden state, 0 for the frames before the first layer, -1 for the last layer. None: the mean
            of all hidden states, which s3prl's Featurizer gives before its weights are trained.
        chunk_seconds: longer audio is cut into pieces of this length at most, on the same grid of frames.

    Raises:
        UserError: the place is missing or holds no student, or a setting is out of range.
    """

    def __init__(
        self,
        student: str | Path,
        *,
        steps: int | None = None,
        layer: int | None = None,
        chunk_seconds: float = CHUNK_SECONDS,
    ) -> None:
        super().__init__()
        settings = read_settings(student)
        check_steps(steps, student)
        self.steps = settings.steps if steps is None else steps
        count = settings.config.num_states(self.steps)
        if layer is not None and not -count <= layer < count:
            raise UserError(f"layer: found {layer}, expected {-count}..{count - 1}: {student} gives {count} states")
        self.layer = layer
        self.chunk_frames = int(1000 * chunk_seconds / FRAME_MS)
        if self.chunk_frames < 1:
            raise UserError(
                f"chunk_seconds: found {chunk_seconds}, expected at least {FRAME_MS / 1000}, the length of one step; "
                f"leave it out for {CHUNK_SECONDS:.0f} s"
            )
        self.student = load_student(student)
        self.width: int = settings.config.student.encoder_embed_dim

    def forward(self, audio: Tensor) -> Tensor:
        """(B, S) samples at 16 kHz between -1 and 1, all of which count, to (B, T, D); without gradients.

        Raises:
            WaveformError: another rank or type, fewer than 400 samples, or numbers that are not finite.
        """
        if not isinstance(audio, Tensor) or audio.dim() != 2:
            found = f"the shape {tuple(audio.shape)}" if isinstance(audio, Tensor) else type(audio).__name__
            raise WaveformError(
                f"audio: found {found}, expected a tensor (B, S) at {SAMPLE_RATE} Hz; give one waveform as wav[None], "
                "and average channels first"
            )
        return torch.cat([self._of_piece(piece) for piece in self._pieces(audio)], dim=1)

    def _of_piece(self, audio: Tensor) -> Tensor:
        states = self.student.generate(audio, steps=self.steps).hidden_states
        return torch.stack(states).mean(0) if self.layer is None else states[self.layer]

    def _pieces(self, audio: Tensor) -> Iterator[Tensor]:
        """Pieces of about equal length, whose frames together are the frames of the whole."""
        samples = audio.shape[1]
        frames = (samples - MIN_SAMPLES) // FRAME_SAMPLES + 1
        count = -(-frames // self.chunk_frames)
        if count <= 1:  # also audio without a frame, which the student refuses
            yield audio
            return
        bounds = [round(index * frames / count) for index in range(count + 1)]
        for begin, end in zip(bounds[:-1], bounds[1:], strict=True):
            last = samples if end == frames else (end - 1) * FRAME_SAMPLES + MIN_SAMPLES
            yield audio[:, begin * FRAME_SAMPLES : last]

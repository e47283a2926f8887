"""What every student gives, and how it is used after training."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass
class StudentOutput:
    """What a student gives for a batch.

    Attributes:
        hidden_states: front end first, then what the student makes of it, each (B, T, D).
        frame_mask: (B, T), True = real frame.
        num_predicted: how many of the last hidden states stand for teacher layers.
    """

    hidden_states: list[Tensor]
    frame_mask: Tensor
    num_predicted: int

    @property
    def predictions(self) -> Tensor:
        """The predicted teacher layers, (B, N, T, D)."""
        return torch.stack(self.hidden_states[-self.num_predicted :], dim=1)


class Student(nn.Module):
    """Base of the students: ``student(wavs, lengths) -> StudentOutput`` and the same without dropout or gradient."""

    @torch.no_grad()
    def generate(self, wavs: Tensor, lengths: Tensor | None = None, *, steps: int | None = None) -> StudentOutput:
        """Free-running inference.

        Args:
            wavs: (B, S) float32 at 16 kHz, zero after each item's end.
            lengths: (B,) samples; all S when None.
            steps: how many layers to generate; all when None.
        """
        if lengths is None:
            lengths = torch.full((len(wavs),), wavs.shape[1], device=wavs.device)
        was_training = self.training
        self.eval()
        try:
            output: StudentOutput = self(wavs, lengths, steps=steps)
        finally:
            self.train(was_training)
        return output

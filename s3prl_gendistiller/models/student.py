"""The base of all students: their call, their output, and the methods that training and checkpoints use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from s3prl_gendistiller.models.front_end import Front
from s3prl_gendistiller.models.waveforms import to_batch


@dataclass
class StudentOutput:
    """A student's output for a batch."""

    hidden_states: list[Tensor]  # the front end's frames, then the layers, each (B, T, D)
    frame_mask: Tensor  # (B, T), True = real frame
    num_predicted: int  # number of predicted teacher layers; the last hidden states, or as many as those
    # every prediction of those layers: of each layer's own state, of the last state, or of both; empty if left out, and
    # None where the predicted layers are hidden states
    predicted: list[list[Tensor]] | None = None

    @property
    def predictions(self) -> Tensor:
        """The predicted teacher layers, (B, N, T, D), the first of `prediction_sets`; errors as of these."""
        return self.prediction_sets[0]

    @property
    def prediction_sets(self) -> list[Tensor]:
        """Every prediction of the teacher's layers, (B, N, T, D); a loss is over all of them.

        Raises:
            ValueError: they were left out, see `Student.for_use`.
        """
        sets = [self.hidden_states[-self.num_predicted :]] if self.predicted is None else self.predicted
        if not sets:
            raise ValueError("predictions: left out of a student in use; load_student(..., whole=True) keeps them")
        return [torch.stack(layers, dim=1) for layers in sets]


class Student(nn.Module):
    """Base of the students: ``student(wavs, lengths, steps=None) -> StudentOutput``.

    Attributes:
        ignores_padding: no frame depends on the samples behind its utterance; the teacher then ignores padding, too.
        heads: the prediction heads, which a reader of hidden states can leave out; None where predictions are layers.
        default_steps: number of layers that `generate` gives unless told; None for all.
    """

    ignores_padding = True
    heads: nn.Module | None = None
    default_steps: int | None = None

    @property
    def stored_module(self) -> nn.Module:
        """The module whose state_dict a checkpoint stores."""
        return self

    @property
    def cnn(self) -> nn.Module | None:
        """The CNN, in whose place the student takes `features` in its call and in `encode`; None where it does not."""
        return None

    @property
    def front(self) -> Front | None:
        """What the student does before its first layer, if it takes the result as `features` in its call; else None.

        Audio that does not fit into memory is read in parts through it, see `inference.long_audio`.
        """
        return None

    def encode(self, wavs: Tensor, lengths: Tensor, features: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The frames z (B, T, D) that enter the first transformer layer, and the frame mask (B, T).

        Args:
            wavs: (B, S) samples at 16 kHz, zero after each item's end.
            lengths: (B,) samples.
            features: (B, T, C), which another network's CNN has computed; None: the student's own CNN computes them.
        """
        raise NotImplementedError(f"{type(self).__name__} does not give the input of its first layer")

    def for_use(self) -> Student:
        """Removes the parts that only training needs, such as heads of no hidden state; returns the student itself."""
        return self

    def host_config(self) -> Mapping[str, Any]:
        """Sections beside our own that a checkpoint's `Config` holds, so that a class of s3prl can load it."""
        return {}

    def count_parameters(self) -> dict[str, int]:
        """Number of parameters by part; empty where the parts are not told apart."""
        return {}

    def without_heads(self, wavs: Tensor) -> object:
        """Runs the student on unpadded wavs (B, S) without its prediction heads, to count operations."""
        raise NotImplementedError(f"{type(self).__name__} has no prediction heads")

    @torch.no_grad()
    def generate(
        self, wavs: Any, lengths: Any = None, *, steps: int | None = None, sample_rate: int | None = None
    ) -> StudentOutput:
        """Free-running inference in eval mode, without gradients, on the student's device.

        Args:
            wavs: one waveform (S,), a list of them, or a padded batch (B, S), at 16 kHz: tensors or numpy arrays of
                floats between -1 and 1. One waveform gives a batch of one.
            lengths: (B,) samples of each row of a padded batch; None: all samples.
            steps: number of layers to generate; None: `default_steps`.
            sample_rate: the rate of `wavs` in Hz, which is compared with 16,000; samples alone do not show their rate.

        Raises:
            WaveformError: a UserError and ValueError that says what was found, what was expected and what to do.
            ValueError: the student does not generate `steps` layers.
        """
        batch, samples = to_batch(wavs, lengths, sample_rate)
        own = next(self.parameters(), batch)
        steps = self.default_steps if steps is None else steps
        was_training = self.training
        self.eval()
        try:
            output: StudentOutput = self(batch.to(own), samples.cpu(), steps=steps)
        finally:
            self.train(was_training)
        return output

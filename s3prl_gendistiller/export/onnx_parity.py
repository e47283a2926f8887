"""Agreement of an ONNX graph with the student in torch, measured when the graph is written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor

from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.inference.onnx_session import OnnxSession
from s3prl_gendistiller.models.student import Student
from s3prl_gendistiller.models.waveforms import SAMPLE_RATE

LARGEST = 1e-4
"""Largest difference of a number from torch's, relative to the root mean square of its hidden state."""
BATCHES = (1, 3)
SECONDS = (0.5, 1.3, 3.1)
_REPORT = "use another format of `gendistiller export`, and report the student's configuration"
_SHARES = (1.0, 0.71, 0.43)  # of the batch's longest utterance


def check_parity(student: Student, file: Path, steps: int | None) -> list[float]:
    """The largest difference of each hidden state, in the unit of `LARGEST`.

    The batches have one and three utterances of different lengths, each at three padded lengths; frames behind an
    utterance are left out.

    Args:
        student: the student in torch, in use.
        file: its graph.
        steps: number of layers that the graph generates; None for all.

    Raises:
        UserError: a difference is larger than `LARGEST`, or a frame count differs.
    """
    session = OnnxSession(file)
    found = []
    for wavs, lengths in _batches():
        wanted = student.generate(wavs, lengths, steps=steps)
        states, mask = session(wavs, lengths)
        if not torch.equal(mask, wanted.frame_mask):
            raise UserError(f"ONNX: found other frames than torch's for the lengths {lengths.tolist()}; {_REPORT}")
        found.append(differences(states, wanted.hidden_states, mask))
    worst = torch.stack(found).amax(0)
    if not bool((worst <= LARGEST).all()):  # also where a difference is no number
        shown = ", ".join(f"{value:.1e}" for value in worst.tolist())
        raise UserError(
            f"ONNX: hidden states differ from torch's by {shown} of their root mean square, expected {LARGEST:.0e} at "
            f"most; {_REPORT}"
        )
    return worst.tolist()


def differences(found: Sequence[Tensor], wanted: Sequence[Tensor], mask: Tensor) -> Tensor:
    """(L,): the largest difference of each hidden state (B, T, D) over its root mean square, both over real frames."""
    pairs = zip(found, wanted, strict=True)
    return torch.stack([(a - b)[mask].abs().max() / b[mask].square().mean().sqrt() for a, b in pairs])


def _batches() -> Iterator[tuple[Tensor, Tensor]]:
    """Noise whose loudness goes up and down four times a second, as that of speech does."""
    generator = torch.Generator().manual_seed(0)
    for seconds in SECONDS:
        for count in BATCHES:
            samples = int(seconds * SAMPLE_RATE)
            lengths = (samples * torch.tensor(_SHARES[:count])).long()
            loudness = (torch.arange(samples) * (4 * torch.pi / SAMPLE_RATE)).sin().square()
            wavs = 0.1 * torch.randn(count, samples, generator=generator) * loudness
            yield wavs.masked_fill(torch.arange(samples) >= lengths.unsqueeze(1), 0.0), lengths

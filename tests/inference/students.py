"""Tiny students of every front end, with norms that have something to do, and speech that changes over time."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from s3prl_gendistiller.host.students import build_student
from s3prl_gendistiller.models.student import Student
from tests.conftest import TINY
from tests.toy_student import ToyStudent, ToyStudentConfig

MEL = {"front_end": "mel", "mel_bins": 20, "mel_channels": 12}
THIN = {"front_end": "thin", "thin_channels": [6, 8, 8, 8, 8, 10, 12], "normalize": True}
# kind and section `student`
STUDENTS: dict[str, tuple[str, dict[str, object]]] = {
    "conv": ("gendistiller", {}),
    "thin_normalised": ("gendistiller", THIN),
    "layer_norm": ("gendistiller", {"extractor_mode": "layer_norm"}),
    "mel_utterance": ("gendistiller", MEL),
    "mel_bin": ("gendistiller", {**MEL, "mel_norm": "bin", "mel_convolutions": 3}),
    "mel_none_normalised": ("gendistiller", {**MEL, "mel_norm": "none", "normalize": True}),
    "distilhubert": ("distilhubert", {}),
    "distilhubert_mel": ("distilhubert", MEL),
}


def student(name: str, **changes: object) -> Student:
    """The student of a row of `STUDENTS`, in eval mode, with random weights in its norms too."""
    kind, section = STUDENTS[name]
    torch.manual_seed(0)
    keys = {**TINY, **section, **changes}
    if "front_end" in section:
        del keys["extractor_conv_feature_layers"]
    content = {"teacher": {"folder": "x"}, "student": keys, "distill": {"target_layers": [1, 3]}}
    content["warm_start"] = {"front_end": False}
    made = build_student(content, task=kind).for_use()
    for module in made.modules():
        if isinstance(module, nn.GroupNorm):
            nn.init.normal_(module.weight, 1.0, 0.3)
            nn.init.normal_(module.bias, 0.0, 0.3)
    return made.eval()


def toy() -> Student:
    """A student that takes no features."""
    torch.manual_seed(0)
    return ToyStudent(ToyStudentConfig(**TINY), 2).eval()


def speech(samples: int, seed: int = 0) -> Tensor:
    """(S,), with an offset, and louder at its end than at its start."""
    noise = torch.randn(samples, generator=torch.Generator().manual_seed(seed))
    return 0.05 + noise * torch.linspace(0.01, 0.2, samples)


def whole_states(made: Student, wav: Tensor) -> list[Tensor]:
    """The hidden states (T, D) of a waveform (S,)."""
    return [state[0] for state in made.generate(wav).hidden_states]

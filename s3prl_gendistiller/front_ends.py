"""The front ends of the students: one row each, with the module that builds it and the keys that it reads.

No torch is imported at first, because the configuration reads its choices from this table. The module defines
``build(config) -> nn.Module``. Its result is called as ``front_end(wavs, lengths) -> (features, frame mask)`` with wavs
(B, S), lengths (B,) on the CPU, features (B, T, C) and mask (B, T). Its attribute `channels` is C, and its method
`frames` gives the number of frames of each length. Audio that is read in parts needs what `ConvFrontEnd` has beside
these: `mask`, `moments`, `margin_frames`, `normed_window`, and a third argument, the statistics.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any, Literal

STOCK = "conv"
"""The front end of HuBERT, and the only one that s3prl's own networks have."""


@dataclass(frozen=True)
class FrontEnd:
    """One front end.

    Attributes:
        module: the module that builds it, relative to this package or absolute.
        keys: the keys of the student that this front end reads and another one may not.
        copies: what a warm start copies into it of the teacher's convolutions and projection: all of them, which needs
            the same sizes; the most important channels (`distill.channels`); or nothing.
        frame_samples: samples from frame to frame; None where the keys decide.
    """

    module: str
    keys: tuple[str, ...]
    copies: Literal["all", "channels", "nothing"] = "nothing"
    frame_samples: int | None = None


FRONT_ENDS: dict[str, FrontEnd] = {
    # HuBERT's convolutions over samples
    STOCK: FrontEnd(".models.front_end", ("extractor_mode", "extractor_conv_feature_layers"), copies="all"),
    # log-mel energies and a few convolutions
    "mel": FrontEnd(".models.mel", ("mel_bins", "mel_channels", "mel_convolutions", "mel_norm"), frame_samples=320),
    # HuBERT's convolutions with fewer channels
    "thin": FrontEnd(".models.thin", ("extractor_mode", "thin_channels"), copies="channels", frame_samples=320),
}


def build_front_end(config: Any) -> Any:
    """The front end that a student's configuration names."""
    return importlib.import_module(FRONT_ENDS[config.front_end].module, __package__).build(config)


def unread_keys(front_end: str) -> dict[str, str]:
    """The keys that a front end does not read, each with the front ends that read it: "conv or thin"."""
    every = dict.fromkeys(name for row in FRONT_ENDS.values() for name in row.keys)
    return {
        name: " or ".join(other for other, row in FRONT_ENDS.items() if name in row.keys)
        for name in every
        if name not in FRONT_ENDS[front_end].keys
    }

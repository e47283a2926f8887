"""The front ends of the students: one row each, with the module that builds it and the keys that it reads.

No torch is imported here, because the configuration reads its choices from this table. The module defines
``build(config) -> nn.Module``. Its result is called as ``front_end(wavs, lengths) -> (features, frame mask)`` with wavs
(B, S), lengths (B,), features (B, T, C) and mask (B, T), and its attribute `channels` is C.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class FrontEnd:
    """One front end.

    Attributes:
        module: the module that builds it, relative to this package or absolute.
        keys: the keys of the student that this front end reads and another one may not.
        copies: a warm start can copy the teacher's convolutions and projection into it.
        frame_samples: samples from frame to frame; None where the keys decide.
    """

    module: str
    keys: tuple[str, ...]
    copies: bool = False
    frame_samples: int | None = None


FRONT_ENDS: dict[str, FrontEnd] = {
    # HuBERT's convolutions over samples
    "conv": FrontEnd(".models.front_end", ("extractor_mode", "extractor_conv_feature_layers"), copies=True),
    # log-mel energies and a few convolutions
    "mel": FrontEnd(".models.mel", ("mel_bins", "mel_channels", "mel_convolutions", "mel_norm"), frame_samples=320),
}


def unread_keys(front_end: str) -> dict[str, str]:
    """The keys that a front end does not read, each with the front end that reads it."""
    read = FRONT_ENDS[front_end].keys
    return {name: other for other, row in FRONT_ENDS.items() for name in row.keys if name not in read}

"""Published SUPERB rows of the public set, for comparison with new rows.

Read from the leaderboard and from the tables of DPHuBERT and ARMHuBERT's repositories; models without a published
score are left out. PR, ASR, ASV and SD are error rates, QbE is MTWV x 100.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from s3prl_gendistiller.superb.tasks import TASKS

_COLUMNS = ("pr", "ks", "ic", "sid", "er", "asr", "asv", "sd", "sf", "qbe")
"""Tasks in the order of the published tables."""


def _row(*numbers: float) -> dict[str, dict[str, float]]:
    """Task -> metric -> value, as `gendistiller superb` names them."""
    given = iter(numbers)
    row = {task: {metric: next(given) for metric in TASKS[task].counted} for task in _COLUMNS}
    if sum(map(len, row.values())) != len(numbers):
        raise ValueError(f"found {len(numbers)} numbers, expected one for each metric of {', '.join(_COLUMNS)}")
    return row


@dataclass(frozen=True)
class PublishedModel:
    """Published results of one model.

    Attributes:
        million_parameters: size of the evaluated model.
        published: score that the source prints.
        values: task -> metric -> number.
        gmacs: billions of multiply-adds as in `leaderboard_protocol`; None where none are published.
    """

    name: str
    million_parameters: float
    published: int
    values: dict[str, dict[str, float]]
    gmacs: float | None = None


# Million parameters, score, G multiply-adds; PR, KS, IC, SID, ER, ASR, ASV, SD, SF's F1 and CER, QbE.
_ROWS: tuple[tuple[Any, ...], ...] = (
    ("WavLM Base+", 94.70, 1106, 1670, 3.92, 97.37, 99.00, 89.42, 68.65, 5.59, 4.07, 3.50, 90.58, 21.20, 9.88),
    ("HuBERT Base", 94.68, 941, 1669, 5.41, 96.30, 98.34, 81.42, 64.92, 6.42, 5.11, 5.88, 88.53, 25.20, 7.36),
    ("DPWavLM", 23.59, 926, 589.2, 8.22, 96.27, 98.58, 82.11, 65.24, 10.19, 5.98, 5.53, 87.68, 26.11, 8.74),
    ("LightHuBERT-small", 27.00, 901, 860.7, 6.60, 96.07, 98.23, 69.70, 64.12, 8.34, 5.42, 5.85, 87.58, 26.90, 7.64),
    ("STaRHuBERT-L", 26.63, 896, 511.9, 7.97, 96.56, 97.50, 78.66, 63.48, 8.91, 5.45, 5.83, 88.01, 25.36, 6.77),
    ("STaRHuBERT", 22.31, 887, 463.5, 8.16, 96.27, 97.55, 77.58, 63.01, 9.35, 5.39, 6.05, 87.94, 25.31, 6.88),
    ("DPHuBERT", 23.59, 866, 654.1, 9.67, 96.36, 97.92, 76.83, 63.16, 10.47, 5.84, 5.92, 86.86, 28.26, 6.93),
    ("ARMHuBERT-S", 22.39, 828, 449.4, 8.63, 96.82, 97.02, 63.76, 62.96, 10.82, 5.58, 7.01, 86.34, 29.02, 7.20),
    ("DistilHuBERT", 23.49, 717, None, 16.27, 95.98, 94.99, 73.54, 63.02, 13.37, 8.55, 6.19, 82.57, 35.59, 5.11),
)
PUBLISHED = tuple(
    PublishedModel(name, million_parameters, published, _row(*row), gmacs)
    for name, million_parameters, published, gmacs, *row in _ROWS
)

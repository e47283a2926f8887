"""Published SUPERB rows of the public set, each with its source, for comparison with new rows.

PR, ASR, ASV and SD are error rates, QbE is MTWV x 100. A row has all ten tasks. Where the source prints no score of the
leaderboard, `published` is None, and the score follows from the row by `scores.overall_score`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from s3prl_gendistiller.superb.leaderboard.scores import LEADERBOARD, overall_score
from s3prl_gendistiller.superb.tasks import TASKS

DRAWN_FROM = 600
"""Score from which pictures show a published model: older ones, far below, would press all others together."""
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
class Source:
    """Where a row was read: words for a table, and the page."""

    words: str
    link: str


@dataclass(frozen=True)
class PublishedModel:
    """Published results of one model.

    Attributes:
        million_parameters: size of the evaluated model.
        published: score that the source prints; None where the source prints none.
        values: task -> metric -> number.
        gmacs: billions of multiply-adds as in `leaderboard_protocol`; None where none are published.
    """

    name: str
    million_parameters: float
    published: int | None
    values: dict[str, dict[str, float]]
    source: Source
    gmacs: float | None = None

    @property
    def score(self) -> float:
        """The score of the leaderboard's formula."""
        found = overall_score(self.values, LEADERBOARD)
        assert found is not None  # `_row` takes all ten tasks
        return found


def smallest_of_their_score(models: Sequence[PublishedModel]) -> list[PublishedModel]:
    """The models that no other one of the same size or less exceeds, by size: those that a picture names."""
    found: list[PublishedModel] = []
    for model in sorted(models, key=lambda one: (one.million_parameters, -one.score)):
        if not found or model.score > found[-1].score:
            found.append(model)
    return found


_BOARD = Source(
    "SUPERB leaderboard, src/data/public.json (2022)", "https://github.com/superbbenchmark/superbbenchmark.github.io"
)
_SHOT = Source(
    "SUPERB leaderboard (2023), imgs/dphubert-superb-score.png of DPHuBERT", "https://github.com/pyf98/DPHuBERT"
)
_DP = Source("DPHuBERT, table 1 (imgs/dphubert-results.png)", "https://github.com/pyf98/DPHuBERT")
_ARM = Source("ARMHuBERT, assets/result.png", "https://github.com/sungnyun/ARMHuBERT")
_STAR = Source("STaRHuBERT, assets/result_star.png", "https://github.com/sungnyun/ARMHuBERT")

# Million parameters, score, G multiply-adds; PR, KS, IC, SID, ER, ASR, ASV, SD, SF's F1 and CER, QbE. "100 h" names the
# speech of the distillation where it is not LibriSpeech's 960 h.
# fmt: off
_OF_BOARD: tuple[tuple[Any, ...], ...] = (
    ("FBANK", 0.0, None, 0.48, 82.01, 41.38, 9.65, 20.06, 48.24, 23.18, 9.56, 10.05, 69.64, 52.94, 0.58),
    ("PASE+", 7.83, None, None, 58.87, 82.54, 29.82, 37.99, 57.86, 25.11, 11.61, 8.68, 62.14, 60.17, 0.720),
    ("APC", 4.11, None, None, 41.98, 91.01, 74.69, 60.42, 59.33, 21.28, 8.56, 10.53, 70.46, 50.89, 3.10),
    ("VQ-APC", 4.63, None, None, 41.08, 91.11, 74.48, 60.15, 59.66, 21.20, 8.72, 10.45, 68.53, 52.91, 2.51),
    ("NPC", 19.38, None, None, 43.81, 88.96, 69.44, 55.92, 59.08, 20.20, 9.40, 9.34, 72.79, 48.44, 2.46),
    ("Mockingjay", 85.12, None, None, 70.19, 83.67, 34.33, 32.29, 50.28, 22.82, 11.66, 10.54, 61.59, 58.89, 0.066),
    ("TERA", 21.33, None, None, 49.17, 89.48, 58.42, 57.57, 56.27, 18.17, 15.89, 9.96, 67.50, 54.17, 0.130),
    ("modified CPC", 1.84, None, None, 42.54, 91.88, 64.09, 39.63, 60.96, 20.18, 12.86, 10.38, 71.19, 49.91, 3.26),
    ("wav2vec", 32.54, None, None, 31.58, 95.59, 84.92, 56.56, 59.79, 15.86, 7.99, 9.90, 76.37, 43.71, 4.85),
    ("vq-wav2vec", 34.15, None, None, 33.48, 93.38, 85.68, 38.80, 58.24, 17.71, 10.38, 9.93, 77.68, 41.54, 4.10),
    ("wav2vec 2.0 Base", 95.04, 818, 1669, 5.74, 96.23, 92.35, 75.18, 63.43, 6.43, 6.02, 6.08, 88.30, 24.77, 2.33),
    ("wav2vec 2.0 Large", 317.38, 914, 4326, 4.75, 96.66, 95.28, 86.14, 65.64, 3.75, 5.65, 5.62, 87.11, 27.31, 4.89),
    ("HuBERT Base", 94.68, 941, 1669, 5.41, 96.30, 98.34, 81.42, 64.92, 6.42, 5.11, 5.88, 88.53, 25.20, 7.36),
    ("HuBERT Large", 316.61, 919, 4324, 3.53, 95.29, 98.76, 90.33, 67.62, 3.62, 5.98, 5.75, 89.81, 21.76, 3.53),
    ("DeCoAR 2.0", 89.84, None, None, 14.93, 94.48, 90.80, 74.42, 62.47, 13.02, 7.16, 6.59, 83.28, 34.73, 4.06),
    ("DistilHuBERT", 23.49, 717, None, 16.27, 95.98, 94.99, 73.54, 63.02, 13.37, 8.55, 6.19, 82.57, 35.59, 5.11),
    ("FaST-VGS+", 217.23, 809, None, 7.76, 97.27, 98.97, 41.34, 62.71, 8.83, 5.87, 6.05, 88.15, 27.12, 5.62),
    ("WavLM Base", 94.70, 1019, 1670, 4.84, 96.79, 98.63, 84.51, 65.94, 6.21, 4.69, 4.55, 89.38, 22.86, 8.70),
    ("WavLM Base+", 94.70, 1106, 1670, 3.92, 97.37, 99.00, 89.42, 68.65, 5.59, 4.07, 3.50, 90.58, 21.20, 9.88),
    ("WavLM Large", 316.62, 1145, 4326, 3.06, 97.86, 99.31, 95.49, 70.62, 3.44, 3.77, 3.24, 92.21, 18.36, 8.86),
)
_OF_SHOT: tuple[tuple[Any, ...], ...] = (
    ("data2vec Large", 314.3, 949, 4306, 3.6, 96.75, 98.31, 76.77, 66.31, 3.36, 5.73, 5.53, 90.98, 22.16, 6.28),
    ("LightHuBERT Stage 1", 95.0, 959, None, 4.15, 96.82, 98.5, 80.01, 66.25, 5.71, 5.14, 5.51, 88.44, 25.92, 7.37),
    ("data2vec-aqc Base", 93.84, 935, 1657, 4.11, 96.36, 98.92, 59.87, 67.59, 5.39, 5.82, 4.84, 89.39, 22.88, 6.65),
    ("CoBERT Base", 94.35, 894, 1660, 3.08, 96.36, 98.87, 72.66, 65.32, 4.74, 6.13, 5.74, 89.04, 23.35, 5.07),
    ("ccc-wav2vec 2.0 Base", 95.04, 940, 1670, 5.95, 96.72, 96.47, 72.84, 64.17, 6.3, 5.61, 4.27, 88.08, 24.34, 6.73),
    ("data2vec Base", 93.75, 884, 1657, 4.69, 96.56, 97.63, 70.21, 66.27, 4.94, 5.77, 6.67, 88.59, 25.27, 5.76),
    ("DPWavLM", 23.59, 926, 589.2, 8.22, 96.27, 98.58, 82.11, 65.24, 10.19, 5.98, 5.53, 87.68, 26.11, 8.74),
    ("LightHuBERT-small", 27.0, 901, 860.7, 6.6, 96.07, 98.23, 69.7, 64.12, 8.34, 5.42, 5.85, 87.58, 26.9, 7.64),
    ("DPHuBERT", 23.59, 866, 654.1, 9.67, 96.36, 97.92, 76.83, 63.16, 10.47, 5.84, 5.92, 86.86, 28.26, 6.93),
)
_OF_DP: tuple[tuple[Any, ...], ...] = (
    ("FitHuBERT", 22.49, None, None, 13.32, 96.27, 91.25, 55.71, 59.82, 12.09, 8.0, 6.84, 84.06, 32.46, 4.89),
    ("FitW2V2", 31.63, None, None, 12.22, 96.04, 93.38, 64.71, 62.35, 11.44, 6.65, 6.44, 86.65, 29.4, 4.75),
    ("Deep-vs-wide 12L", 26.87, None, None, 10.67, 97.24, 96.97, 69.52, 63.24, 10.96, 6.13, 6.81, 86.11, 30.93, 6.04),
    ("Deep-vs-wide 3L", 30.58, None, None, 13.34, 96.69, 94.15, 75.71, 63.95, 12.23, 6.48, 6.56, 82.89, 34.65, 4.89),
    ("FitHuBERT (100 h)", 22.49, None, None, 14.05, 96.23, 94.2, 54.24, 61.67, 12.66, 7.88, 7.19, 83.41, 34.0, 5.79),
    ("FitW2V2 (100 h)", 22.49, None, None, 16.5, 94.68, 90.03, 51.65, 62.87, 14.77, 7.43, 6.94, 81.95, 34.74, 3.8),
)
_OF_ARM: tuple[tuple[Any, ...], ...] = (
    ("MaskHuBERT", 26.64, None, None, 7.3, 96.36, 97.05, 62.83, 62.37, 9.77, 5.38, 6.79, 87.31, 27.1, 6.64),
    ("ARMHuBERT", 26.45, None, None, 7.72, 96.88, 97.07, 65.03, 62.86, 9.96, 5.68, 7.1, 87.59, 26.06, 6.35),
    ("ARMwavLM-S", 22.39, None, None, 7.42, 97.01, 97.76, 71.29, 64.54, 10.03, 5.99, 7.11, 87.41, 26.97, 7.41),
    ("ARMwavLM-S (100 h)", 22.39, None, None, 8.33, 96.3, 96.76, 65.4, 63.41, 11.37, 6.38, 7.41, 84.89, 31.95, 5.79),
)
_OF_STAR: tuple[tuple[Any, ...], ...] = (
    ("STaRHuBERT-L", 26.63, 896, 511.9, 7.97, 96.56, 97.5, 78.66, 63.48, 8.91, 5.45, 5.83, 88.01, 25.36, 6.77),
    ("STaRHuBERT", 22.31, 887, 463.5, 8.16, 96.27, 97.55, 77.58, 63.01, 9.35, 5.39, 6.05, 87.94, 25.31, 6.88),
    ("ARMHuBERT-S", 22.39, 828, 449.4, 8.63, 96.82, 97.02, 63.76, 62.96, 10.82, 5.58, 7.01, 86.34, 29.02, 7.2),
    ("ARMHuBERT-S (100 h)", 22.39, 800, 449.4, 9.17, 96.01, 95.97, 66.48, 63.29, 11.83, 5.92, 6.23, 83.89, 33.29, 5.69),
    ("DPHuBERT (100 h)", 23.59, 819, 654.1, 10.02, 96.36, 97.42, 73.37, 62.78, 11.38, 6.25, 6.03, 84.83, 33.03, 6.34),
    ("STaRHuBERT (100 h)", 22.31, 831, 463.5, 9.17, 96.46, 97.21, 72.26, 61.22, 10.92, 5.66, 5.97, 84.89, 30.77, 6.26),
)
# fmt: on
_ROWS = {_BOARD: _OF_BOARD, _SHOT: _OF_SHOT, _DP: _OF_DP, _ARM: _OF_ARM, _STAR: _OF_STAR}
PUBLISHED = tuple(
    sorted(
        (
            PublishedModel(name, million_parameters, published, _row(*row), source, gmacs)
            for source, rows in _ROWS.items()
            for name, million_parameters, published, gmacs, *row in rows
        ),
        key=lambda model: -model.score,
    )
)
"""All rows, the highest score first."""

"""Files to read in a benchmark, and the time that a loader takes for a batch of them."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from s3prl_gendistiller.distill.audio import SAMPLE_RATE, Measured
from s3prl_gendistiller.distill.listing import Recording
from s3prl_gendistiller.distill.manifest import write_lists

LONGER = 1.2
"""Length of a file over that of a crop."""
KEPT = 0.97  # coefficient of the noise's filter, whose spectrum falls towards high frequencies as that of speech


def write_speech(root: Path, batch: int, crop_samples: int, batches: int) -> Path:
    """Writes two batches of FLAC files of coloured noise, each longer than a crop, below `root`.

    Returns:
        The manifest, which lists them again and again, for an epoch of `batches` batches.
    """
    drawn = np.random.default_rng(0)
    (root / "speech").mkdir(parents=True)
    samples = round(LONGER * crop_samples)
    written = []
    for number in range(2 * batch):
        white = drawn.standard_normal(samples).astype(np.float32)
        # a sum over few lags stands for the recursion, which numpy lacks
        wav = np.convolve(white, KEPT ** np.arange(64, dtype=np.float32), mode="same")
        name = f"speech/{number:04d}.flac"
        soundfile.write(root / name, 0.1 * wav / np.abs(wav).max(), SAMPLE_RATE, subtype="PCM_16")
        written.append(Recording(name, Measured(samples, SAMPLE_RATE, channels=1, seeks=True)))
    rows = list(itertools.islice(itertools.cycle(written), batch * batches))
    return write_lists(root / "lists", {"speech": rows})[0].path


def seconds_per_batch(loader: Iterable[Any], workers: int) -> float:
    """Mean time from one batch of a loader to the next, when nothing is done with the batches.

    The first batches, which the reader processes load while they start, do not count.
    """
    stream = _endless(loader)
    for _ in range(workers + 1):
        next(stream)
    count = counted(workers)
    began = time.perf_counter()
    for _ in range(count):
        next(stream)
    return (time.perf_counter() - began) / count


def counted(workers: int) -> int:
    """Batches that `seconds_per_batch` times."""
    return max(4, 2 * workers)


def _endless(loader: Iterable[Any]) -> Iterator[Any]:
    while True:
        yield from loader

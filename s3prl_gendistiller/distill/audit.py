"""Check of a run's audio files before the run starts, so that a bad file does not end the run after hours.

The headers of all files and the first samples of a few are read. A header takes 0.1 ms on a local disk, so the 280,000
files of LibriSpeech take half a minute; threads help with disks on a network.
"""

from __future__ import annotations

import hashlib
import os

import numpy as np

from s3prl_gendistiller.distill import ranks
from s3prl_gendistiller.distill.audio import MIN_SAMPLES, check_header, read_audio
from s3prl_gendistiller.distill.crops import CropDataset
from s3prl_gendistiller.distill.files import of_each_file
from s3prl_gendistiller.distill.listing import report_bad
from s3prl_gendistiller.errors import UserError

DECODED = 16
SHOWN_FROM = 5_000  # files; fewer are read before a progress bar is of use


def check_audio(crops: CropDataset) -> None:
    """Raises a UserError that counts and names the files that cannot be used, if there are any."""
    total = len(crops)
    decoded = set(np.linspace(0, total - 1, min(DECODED, total)).astype(int).tolist())
    found = of_each_file(
        range(total),
        lambda index: _problem(crops, index, index in decoded),
        workers=None,
        description="audio headers",
        progress=total >= SHOWN_FROM and ranks.rank() == 0,
    )
    problems = [problem for problem in found if problem is not None]
    skip = "add -o config.pretrain_expert.datarc.skip_bad=True to leave them out"
    report_bad(problems, total, "audio files", skip_bad=False, skip=skip)


def speech_hash(crops: CropDataset) -> str:
    """Hash of the files' names and lengths in their order, which decides the batches: 16 hexadecimal digits."""
    digest = hashlib.sha256(crops.num_samples.tobytes())
    for path in crops.paths.tolist():
        digest.update(os.path.basename(path) + b"\n")
    return digest.hexdigest()[:16]


def _problem(crops: CropDataset, index: int, decode: bool) -> str | None:
    path, expected = os.fsdecode(crops.paths[index]), int(crops.num_samples[index])
    try:
        check_header(path, expected)
        if decode:
            read_audio(path, num_samples=MIN_SAMPLES, expected_samples=expected)
    except UserError as error:
        return f"{crops.origins[index].decode()}: {error}"
    return None

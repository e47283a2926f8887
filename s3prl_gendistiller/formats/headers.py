"""Headers of audio files, and messages on files that s3prl would misread as mono at 16 kHz."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile

from s3prl_gendistiller.distill.audio import MIN_SAMPLES, SAMPLE_RATE, opened
from s3prl_gendistiller.errors import UserError

_MAY_HOLD_NAN = ("FLOAT", "DOUBLE")


class Header(NamedTuple):
    """Length and form of an audio file.

    Attributes:
        frames: samples of each channel; 0 for a file without audio.
        fault: the problem with the file, for every task; empty for none.
    """

    frames: int = 0
    rate_hz: int = SAMPLE_RATE
    channels: int = 1
    fault: str = ""


def read_header(file: Path) -> Header:
    """The header of a file, whose first and last samples are read as well; of float samples, all are read."""
    try:
        with opened(file) as audio:
            ends = [audio.read(MIN_SAMPLES, always_2d=True)]
            if audio.subtype in _MAY_HOLD_NAN:
                ends.append(audio.read(always_2d=True))
            elif audio.seekable() and audio.frames > MIN_SAMPLES:
                audio.seek(audio.frames - MIN_SAMPLES)
                ends.append(audio.read(MIN_SAMPLES, always_2d=True))
            finite = np.isfinite(np.concatenate(ends)).all()
            fault = "" if finite else f"{file}: holds NaN or infinite samples; remove it"
            return Header(audio.frames, audio.samplerate, audio.channels, fault)
    except UserError as error:
        return Header() if isinstance(error.__cause__, soundfile.LibsndfileError) else Header(fault=str(error))
    except (soundfile.LibsndfileError, OSError) as error:
        return Header(
            fault=f"{file}: ends before the length that its header states, or is damaged ({error}); fetch it again"
        )


def wrong_form(rate_hz: int, channels: int, expected_hz: int) -> str:
    """A message on a file of another rate or of several channels."""
    return (
        f"{rate_hz} Hz, {channels} {'channel' if channels == 1 else 'channels'}; expected {expected_hz} Hz, 1 channel, "
        f"since s3prl takes the samples as they are; convert it: sox IN -r {expected_hz} -c 1 OUT"
    )


def too_short(samples: int, rate_hz: int) -> str:
    """A message on a file of less than one frame."""
    return (
        f"{samples} samples at {rate_hz} Hz; expected at least {MIN_SAMPLES * rate_hz // SAMPLE_RATE} (one frame); "
        "remove the file from the corpus"
    )

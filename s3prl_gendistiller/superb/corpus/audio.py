"""Audio of a corpus, held against what s3prl's loaders take it for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile

from s3prl_gendistiller.distill.audio import MIN_SAMPLES, SAMPLE_RATE, opened
from s3prl_gendistiller.errors import UserError, few
from s3prl_gendistiller.host.shims.task_data import too_short, unfit
from s3prl_gendistiller.superb.corpus.needs import ALIKE, ANY, Part

_MAY_HOLD_NAN = ("FLOAT", "DOUBLE")


class Heard(NamedTuple):
    """What a file is by its header and its ends.

    Attributes:
        fault: what is wrong with it whatever it is taken for; empty for nothing.
    """

    frames: int = 0
    rate_hz: int = SAMPLE_RATE
    channels: int = 1
    fault: str = ""


class Found(NamedTuple):
    """Audio of a part.

    Attributes:
        files: paths.
        heard: of the files that were looked at.
        seconds: of all of them; None if not all were looked at.
    """

    files: tuple[Path, ...]
    heard: Mapping[Path, Heard]

    @property
    def seconds(self) -> float | None:
        if len(self.heard) < len(self.files):
            return None
        return sum(heard.frames / heard.rate_hz for heard in self.heard.values())


def listen(file: Path) -> Heard:
    """Header, first and last samples; all samples where they are floats."""
    try:
        with opened(file) as audio:
            ends = [audio.read(MIN_SAMPLES, always_2d=True)]
            if audio.subtype in _MAY_HOLD_NAN:
                ends.append(audio.read(always_2d=True))
            elif audio.seekable() and audio.frames > MIN_SAMPLES:
                audio.seek(audio.frames - MIN_SAMPLES)
                ends.append(audio.read(MIN_SAMPLES, always_2d=True))
            fault = (
                "" if np.isfinite(np.concatenate(ends)).all() else f"{file}: holds NaN or infinite samples; remove it"
            )
            return Heard(audio.frames, audio.samplerate, audio.channels, fault)
    except UserError as error:
        return Heard() if isinstance(error.__cause__, soundfile.LibsndfileError) else Heard(fault=str(error))
    except (soundfile.LibsndfileError, OSError) as error:
        return Heard(fault=f"{file}: ends before its header says so, or is damaged ({error}); fetch it again")


def rate_of(found: Iterable[Found]) -> int:
    """The rate in Hz that most files have, 16 kHz where there are none."""
    rates = Counter(heard.rate_hz for audio in found for heard in audio.heard.values() if heard.frames)
    return rates.most_common(1)[0][0] if rates else SAMPLE_RATE


def audio_faults(part: Part, found: Found, common_hz: int) -> Iterator[str]:
    """What is wrong with the files that were looked at: a line for each kind of fault.

    Args:
        common_hz: see `rate_of`, of all that the task reads.
    """
    silent = [file for file, heard in found.heard.items() if not heard.frames and not heard.fault]
    if silent:
        yield f"{part.name}: {len(silent):,} files hold no audio: {few(silent)}"
    sound = {file: heard for file, heard in found.heard.items() if heard.frames}
    damaged = [heard.fault for heard in found.heard.values() if heard.fault]
    if damaged:
        yield f"{part.name}: {len(damaged):,} files are damaged: {damaged[0]}"
    expected_hz = common_hz if part.form == ALIKE else SAMPLE_RATE
    other = [(file, heard) for file, heard in sound.items() if (heard.rate_hz, heard.channels) != (expected_hz, 1)]
    if other and part.form != ANY:
        file, heard = other[0]
        form = unfit(heard.rate_hz, heard.channels, expected_hz)
        yield f"{part.name}: {len(other):,} files have another form: {file}: {form}"
    short = [(f, heard) for f, heard in sound.items() if heard.frames * SAMPLE_RATE < MIN_SAMPLES * heard.rate_hz]
    if short:
        file, heard = short[0]
        yield f"{part.name}: {len(short):,} files are too short: {file}: {too_short(heard.frames, heard.rate_hz)}"

"""Reader of audio files: mono, float32, 16 kHz.

Several channels are averaged, and other rates are resampled when a file is read. A file that cannot be used is a
`UserError` that names the file.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile
import soxr
import torch
from torch import Tensor

from s3prl_gendistiller.distill.files import refuse_irregular
from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.models.waveforms import MIN_SAMPLES as MIN_SAMPLES
from s3prl_gendistiller.models.waveforms import SAMPLE_RATE as SAMPLE_RATE

logger = logging.getLogger(__name__)

LENGTH_TOLERANCE = 320  # samples by which a manifest may differ from a file: one frame, since tools round differently

SUFFIXES = (".wav", ".flac", ".ogg", ".mp3", ".opus")
FORMATS = "wav, flac, ogg, opus or mp3"  # of the files with those suffixes, for messages
# MP3 headers may state a wrong length. OGG files state theirs in the last page, but a seek may miss its sample.
_EXACT_LENGTH = frozenset({"WAV", "WAVEX", "FLAC", "OGG"})
_EXACT_SEEK = frozenset({"WAV", "WAVEX", "FLAC"})
# libsndfile reports the largest count there is for FLAC files that were written to a pipe.
_LENGTH_UNKNOWN = 1 << 60
_BLOCK_FRAMES = 1 << 18
# libsndfile's log line on a WAV file whose header states another size of the samples than the file holds.
_CUT_SHORT = re.compile(r"^data : (?P<stated>\d+) \(should be (?P<found>\d+)\)", re.MULTILINE)
_SIZE_UNKNOWN = 0x7FFFF000  # sizes from here on are placeholders of programs that write to a pipe


@contextlib.contextmanager
def decoders_silenced() -> Iterator[None]:
    """Discards what C libraries write to standard error, while Python's own messages still appear there.

    libmpg123 writes several lines about each damaged MP3 file and cannot be told not to; the `UserError` about the file
    says what matters. File descriptor 2 belongs to the whole process, so only a command of ours may do this.
    """
    with contextlib.ExitStack() as stack:
        try:
            kept = os.dup(2)
        except OSError:  # standard error is closed
            yield
            return
        stack.callback(os.close, kept)
        with contextlib.suppress(OSError, AttributeError):  # an object in place of sys.stderr has its own way out
            if sys.stderr.fileno() == 2:
                stream = stack.enter_context(open(kept, "w", buffering=1, closefd=False, errors="backslashreplace"))
                stack.enter_context(contextlib.redirect_stderr(stream))
        with open(os.devnull, "wb") as nothing:
            os.dup2(nothing.fileno(), 2)
        stack.callback(os.dup2, kept, 2)
        yield


def resampled_length(frames: int, rate_hz: int) -> int:
    """Samples at 16 kHz after resampling `frames` at `rate_hz`: rounded half up, as soxr rounds."""
    return (2 * frames * SAMPLE_RATE + rate_hz) // (2 * rate_hz)


class Measured(NamedTuple):
    """What is known of an audio file once its length is measured."""

    samples: int  # at 16 kHz, as many as `read_audio` returns
    rate_hz: int  # of the file
    channels: int
    seeks: bool  # whether a window is read without the rest of the file


def measured(path: str | Path) -> Measured:
    """Length, rate and channels of a file.

    The header states the length. MP3 files are decoded, because their headers may be wrong.

    Raises:
        UserError: the file is missing, empty, not audio, damaged, or shorter than `MIN_SAMPLES`.
    """
    path = Path(path)
    try:
        with opened(path) as file:
            frames = file.frames if file.format in _EXACT_LENGTH else sum(map(len, _blocks(file)))
            samples = resampled_length(frames, file.samplerate)
            found = Measured(samples, file.samplerate, file.channels, _seeks(file))
    except (soundfile.LibsndfileError, OSError) as error:
        raise unreadable(path, error) from error
    _check_length(path, samples)
    return found


def audio_frames(path: str | Path) -> int:
    """Length of a file in samples at 16 kHz, equal to the length of what `read_audio` returns; errors as `measured`."""
    return measured(path).samples


def _seeks(file: soundfile.SoundFile) -> bool:
    return file.samplerate == SAMPLE_RATE and file.format in _EXACT_SEEK


def check_header(path: str | Path, expected_samples: int) -> None:
    """Raises a UserError for a file that cannot be opened, is too short, or has another length than in a manifest."""
    path = Path(path)
    try:
        with opened(path) as file:
            if file.format in _EXACT_LENGTH:
                _check_length(path, resampled_length(file.frames, file.samplerate), expected_samples)
    except (soundfile.LibsndfileError, OSError) as error:
        raise unreadable(path, error) from error


def read_audio(
    path: str | Path, *, start: int = 0, num_samples: int | None = None, expected_samples: int | None = None
) -> Tensor:
    """Read a file, or a window of it, as (S,) float32 at 16 kHz.

    Args:
        start: first sample of the window; moved back when the window would run past the end.
        num_samples: length of the window; None reads to the end.
        expected_samples: length of the whole file according to a manifest.

    Raises:
        UserError: the file is missing, empty, not audio, damaged, shorter than `MIN_SAMPLES`, holds NaN or
            inf, or is more than `LENGTH_TOLERANCE` samples away from `expected_samples`.
    """
    path = Path(path)
    try:
        with opened(path) as file:
            wav = _read_window(path, file, start, num_samples, expected_samples)
    except (soundfile.LibsndfileError, OSError) as error:
        raise unreadable(path, error) from error
    if not np.isfinite(wav).all():
        raise UserError(f"{path}: holds NaN or infinite samples; expected finite numbers; remove the file")
    return torch.from_numpy(wav)


def audio_blocks(path: str | Path) -> Iterator[Tensor]:
    """A file in parts of some seconds, each (S,) float32 at 16 kHz, in the memory of one part.

    The parts together equal `read_audio`, bit for bit, at every rate.

    Raises:
        UserError: as `read_audio`; a fault behind the first part is found when the parts before it have been given.
    """
    path, total = Path(path), 0
    try:
        with opened(path) as file:
            for block in _resampled(file):
                if not np.isfinite(block).all():
                    raise UserError(f"{path}: holds NaN or infinite samples; expected finite numbers; remove the file")
                total += len(block)
                if len(block):
                    yield torch.from_numpy(block)
            if _seeks(file) and total != file.frames:
                raise _ended(path, total, file.frames)
    except (soundfile.LibsndfileError, OSError) as error:
        raise unreadable(path, error) from error
    _check_length(path, total)


def _resampled(file: soundfile.SoundFile) -> Iterator[np.ndarray]:
    """The blocks of a file, (S,) each, at 16 kHz."""
    if file.samplerate == SAMPLE_RATE:
        yield from map(_mono, _blocks(file))
        return
    _announce(f"audio at {file.samplerate} Hz is resampled to {SAMPLE_RATE} Hz when it is read")
    stream = soxr.ResampleStream(file.samplerate, SAMPLE_RATE, 1, dtype="float32")
    for block in _blocks(file):
        yield stream.resample_chunk(_mono(block))
    yield stream.resample_chunk(np.zeros(0, np.float32), last=True)


def _read_window(
    path: Path, file: soundfile.SoundFile, start: int, num_samples: int | None, expected: int | None
) -> np.ndarray:
    """The window as (S,) float32; only files without exact seeks are decoded as a whole."""
    if _seeks(file):
        total = file.frames
        _check_length(path, total, expected)
        start, stop = _window(total, start, num_samples)
        file.seek(start)
        wav = _mono(file.read(stop - start, dtype="float32", always_2d=True))
        if len(wav) != stop - start:
            raise _ended(path, start + len(wav), total)
        return wav
    wav = np.concatenate([np.zeros(0, np.float32), *_resampled(file)])
    _check_length(path, len(wav), expected)
    start, stop = _window(len(wav), start, num_samples)
    return np.ascontiguousarray(wav[start:stop])


def _ended(path: Path, found: int, stated: int) -> UserError:
    return UserError(
        f"{path}: ends after {found} of the {stated} samples its header states; "
        "expected a complete file; fetch it again or remove it"
    )


def _blocks(file: soundfile.SoundFile) -> Iterator[np.ndarray]:
    """All samples of the file, (frames, channels) at a time, whatever length its header states."""
    while len(block := file.read(_BLOCK_FRAMES, dtype="float32", always_2d=True)):
        yield block


def _mono(channels: np.ndarray) -> np.ndarray:
    if channels.shape[1] == 1:
        return channels[:, 0]
    _announce(f"audio of {channels.shape[1]} channels is averaged to one when it is read")
    return channels.mean(axis=1)


def _window(total: int, start: int, num_samples: int | None) -> tuple[int, int]:
    if num_samples is None:
        return min(start, total), total
    start = max(0, min(start, total - num_samples))
    return start, min(total, start + num_samples)


def opened(path: str | os.PathLike[str]) -> soundfile.SoundFile:
    """An open file; a UserError if the file is missing, no regular file, empty, not audio, or incomplete."""
    refuse_irregular(path, "audio")
    try:
        file = soundfile.SoundFile(path)
    except (soundfile.LibsndfileError, OSError) as error:
        raise unreadable(path, error) from error
    refuse_partial(path, file)
    return file


def refuse_partial(path: str | os.PathLike[str], file: soundfile.SoundFile) -> None:
    """Raises a UserError for a file whose header states no length, or more samples than the file holds."""
    # libsndfile can neither seek in such a file nor read to its end.
    if file.frames >= _LENGTH_UNKNOWN:
        raise UserError(
            f"{path}: its header states no length, as the header of a stream; expected a complete file; encode it again"
        )
    cut = _CUT_SHORT.search(file.extra_info)
    if cut is None:
        return
    found, stated = int(cut["found"]), int(cut["stated"])
    bytes_each = found / file.frames if file.frames else 1
    if stated < _SIZE_UNKNOWN and stated - found > LENGTH_TOLERANCE * bytes_each:
        raise UserError(
            f"{path}: holds {found} of the {stated} bytes of samples its header states; "
            "expected a complete file; fetch it again or remove it"
        )


def _check_length(path: Path, samples: int, expected: int | None = None) -> None:
    if samples < MIN_SAMPLES:
        raise UserError(
            f"{path}: {samples} samples at 16 kHz; expected at least {MIN_SAMPLES} (one frame); remove the file"
        )
    if expected is not None and abs(samples - expected) > LENGTH_TOLERANCE:
        raise UserError(
            f"{path}: {samples} samples at 16 kHz; the manifest states {expected}; "
            "write the manifest again with `gendistiller manifest --overwrite`"
        )


def unreadable(path: str | os.PathLike[str], error: Exception) -> UserError:
    """The error with the reason why libsndfile could not read a regular file."""
    path = Path(path)
    if path.stat().st_size == 0:
        return UserError(f"{path}: file is empty (0 bytes); expected audio; fetch it again or remove it")
    if not os.access(path, os.R_OK):
        return UserError(f"{path}: cannot be read (permission denied); expected a readable file; chmod +r it")
    return UserError(
        f"{path}: cannot be read as audio ({reason(error)}); expected {FORMATS}; fetch it again or remove it"
    )


def reason(error: Exception) -> str:
    """libsndfile's reason, without the reasons that mislead.

    libsndfile reports an MP3 file without frames as one that does not exist, and one with a hole as an internal error.
    """
    text = str(error).rstrip(".")
    if "does not exist" in text:
        return "it is damaged, or no mp3 inside"
    return "it is damaged" if "internal error" in text else text


@functools.cache
def _announce(action: str) -> None:
    logger.info("%s (logged once; it may apply to more files)", action)

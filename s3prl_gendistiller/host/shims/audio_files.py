"""Audio files through soundfile, under the names and signatures of torchaudio's `load`, `save` and `info`.

wav, flac, ogg and mp3, from a path or a file object opened in binary mode.
"""

from __future__ import annotations

import os
from typing import BinaryIO, NamedTuple

import numpy as np
import soundfile
import torch

from s3prl_gendistiller.distill.audio import FORMATS, reason, refuse_partial
from s3prl_gendistiller.distill.files import refuse_irregular
from s3prl_gendistiller.errors import UserError

Source = str | os.PathLike[str] | BinaryIO

# soundfile's subtype -> (torchaudio's encoding, bits per sample; 0 where samples have no fixed size)
ENCODINGS = {
    "PCM_S8": ("PCM_S", 8),
    "PCM_U8": ("PCM_U", 8),
    "PCM_16": ("PCM_S", 16),
    "PCM_24": ("PCM_S", 24),
    "PCM_32": ("PCM_S", 32),
    "FLOAT": ("PCM_F", 32),
    "DOUBLE": ("PCM_F", 64),
    "ULAW": ("ULAW", 8),
    "ALAW": ("ALAW", 8),
    "VORBIS": ("VORBIS", 0),
    "OPUS": ("OPUS", 0),
    "MPEG_LAYER_III": ("MP3", 0),
}
SUBTYPES = {named: subtype for subtype, named in ENCODINGS.items()}
INTEGER_TYPES = {"PCM_16": "int16", "PCM_24": "int32", "PCM_32": "int32"}
SAVED_AS = {torch.float32: "FLOAT", torch.float64: "DOUBLE", torch.int16: "PCM_16", torch.int32: "PCM_32"}


class AudioMetaData(NamedTuple):
    """The result of torchaudio.info."""

    sample_rate: int
    num_frames: int
    num_channels: int
    bits_per_sample: int
    encoding: str


def load(
    uri: Source,
    frame_offset: int = 0,
    num_frames: int = -1,
    normalize: bool = True,
    channels_first: bool = True,
    format: str | None = None,
    buffer_size: int = 4096,
    backend: str | None = None,
) -> tuple[torch.Tensor, int]:
    """Reads samples as torchaudio.load does; `format`, `buffer_size` and `backend` have no effect.

    Args:
        frame_offset: first sample to read.
        num_frames: samples to read at most; -1 reads to the end.
        normalize: convert to float32 in [-1, 1]; otherwise keep integers of the file (int16 or int32).

    Returns (C, S), or (S, C) without `channels_first`, and the rate in Hz. UserError: the file is missing or
    unreadable.
    """
    if frame_offset < 0 or num_frames < -1:
        raise ValueError(f"expected frame_offset >= 0 and num_frames >= -1, found {frame_offset}, {num_frames}")
    with _opened(uri) as file:
        dtype = "float32" if normalize else INTEGER_TYPES.get(file.subtype, "float32")
        try:
            file.seek(min(frame_offset, file.frames))
            samples = file.read(num_frames, dtype=dtype, always_2d=True)  # (S, C)
        except soundfile.LibsndfileError as problem:
            raise UserError(f"{uri}: cannot be read to its end ({problem}); fetch the file again") from problem
        if dtype == "int32" and file.subtype == "PCM_24":
            samples = samples >> 8  # soundfile puts 24 bits at the top of 32
        rate_hz = file.samplerate
    waveform = torch.from_numpy(samples)
    return (waveform.T.contiguous() if channels_first else waveform), rate_hz


def save(
    uri: str | os.PathLike[str] | BinaryIO,
    src: torch.Tensor,
    sample_rate: int,
    channels_first: bool = True,
    format: str | None = None,
    encoding: str | None = None,
    bits_per_sample: int | None = None,
    buffer_size: int = 4096,
    backend: str | None = None,
    compression: float | None = None,
) -> None:
    """Writes samples as torchaudio.save does; `buffer_size`, `backend` and `compression` have no effect.

    `src` is (C, S), or (S, C) without `channels_first`, or (S,). ValueError: soundfile does not write that encoding or
    width.
    """
    waveform = src.detach().cpu()
    if waveform.ndim == 2 and channels_first:
        waveform = waveform.T
    suffix = format or os.path.splitext(str(getattr(uri, "name", uri)))[1].lstrip(".")
    subtype = _subtype(suffix.lower(), waveform.dtype, encoding, bits_per_sample)
    soundfile.write(uri, np.asarray(waveform), sample_rate, subtype=subtype, format=format)


def info(uri: Source, format: str | None = None, buffer_size: int = 4096, backend: str | None = None) -> AudioMetaData:
    """Reads a file's header as torchaudio.info did; UserError if the file is missing, or soundfile cannot read it."""
    with _opened(uri) as file:
        encoding, bits = ENCODINGS.get(file.subtype, ("UNKNOWN", 0))
        if file.format == "FLAC":
            encoding = "FLAC"
        return AudioMetaData(file.samplerate, file.frames, file.channels, bits, encoding)


def _opened(uri: Source) -> soundfile.SoundFile:
    path = uri if isinstance(uri, str | os.PathLike) else None
    if path is not None:
        if not os.path.lexists(path):
            raise UserError(f"{os.fspath(path)}: no such audio file")
        refuse_irregular(path, "audio")
    try:
        file = soundfile.SoundFile(uri)
    except soundfile.LibsndfileError as problem:
        raise UserError(
            f"{uri}: not an audio file that can be read ({reason(problem)}); expected {FORMATS}"
        ) from problem
    if path is not None:
        refuse_partial(path, file)
    return file


def _subtype(suffix: str, dtype: torch.dtype, encoding: str | None, bits: int | None) -> str | None:
    """soundfile's subtype; None for the default of the format (flac, ogg, mp3)."""
    if encoding is None and bits is None:
        return SAVED_AS.get(dtype) if suffix == "wav" else None
    if suffix == "flac":
        return f"PCM_{bits or 16}"
    wanted = (encoding or ("PCM_F" if bits == 64 else "PCM_U" if bits == 8 else "PCM_S"), bits or 16)
    if encoding == "PCM_F" and bits is None:
        wanted = ("PCM_F", 32)
    if wanted not in SUBTYPES:
        raise ValueError(f"cannot write encoding {encoding} with {bits} bits; expected one of {sorted(SUBTYPES)}")
    return SUBTYPES[wanted]

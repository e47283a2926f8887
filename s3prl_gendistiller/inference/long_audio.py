"""Long audio in constant memory: a first pass takes the statistics of the whole file, a second one gives its frames.

The norms of the front end then read what they read in the whole file, and the front end is exact. Only the attention,
and near the ends of a piece the positional convolution (64 frames to each side), read the frames of a window alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from torch import Tensor

from s3prl_gendistiller.distill.audio import audio_blocks
from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.inference.feature_models import FeatureModel, TorchStudent
from s3prl_gendistiller.inference.frame_stream import (
    FRAMES_PER_SECOND,
    FeatureReader,
    FrameStream,
    Reader,
    WindowReader,
)
from s3prl_gendistiller.inference.statistics import whole_statistics

CHUNK_S, OVERLAP_S = 30.0, 2.0
LONGEST_S = 86_400


def in_frames(seconds: float, name: str, low: int) -> int:
    """Seconds as a number of frames of 20 ms; UserError that names them where there are less than `low` frames."""
    frames = round(seconds * FRAMES_PER_SECOND) if 0 <= seconds <= LONGEST_S else -1
    if frames < low:
        raise UserError(
            f"{name}: found {seconds:g} s, expected {low / FRAMES_PER_SECOND:g} to {LONGEST_S:,} s; give a time between"
        )
    return frames


def states_in_chunks(
    model: FeatureModel,
    parts: Callable[[], Iterable[Tensor]],
    *,
    chunk_s: float = CHUNK_S,
    overlap_s: float = OVERLAP_S,
) -> Iterator[list[Tensor]]:
    """The hidden states of one recording, piece by piece.

    Args:
        model: a student in torch reads its norms' statistics from the whole recording. Another model reads them from
            each window, because it takes samples alone.
        parts: gives the recording from its start, in parts (S,) float32 at 16 kHz; it is called once for each pass.
        chunk_s: new frames of each piece, in seconds.
        overlap_s: context that is read before and again behind each piece, in seconds.

    Returns:
        for each piece its hidden states, each (t, D); together (T, D), the frames of the whole recording.

    Raises:
        UserError: chunk or overlap is out of range, or as `parts`.
    """
    piece = in_frames(chunk_s, "chunk", 1)
    around = in_frames(overlap_s, "overlap", 0)
    stream = FrameStream(_reader(model, parts), piece=piece, before=around, after=around)
    for part in parts():
        yield from stream.push(part)
    yield from stream.finish()


def states_of_file(
    model: FeatureModel, path: str | Path, *, chunk_s: float = CHUNK_S, overlap_s: float = OVERLAP_S
) -> Iterator[list[Tensor]]:
    """`states_in_chunks` of an audio file of any rate, which is read in blocks; errors as of `audio_blocks` too."""
    return states_in_chunks(model, lambda: audio_blocks(path), chunk_s=chunk_s, overlap_s=overlap_s)


def _reader(model: FeatureModel, parts: Callable[[], Iterable[Tensor]]) -> Reader:
    if isinstance(model, TorchStudent) and model.front is not None:
        return FeatureReader(model, whole_statistics(model.front, parts, model.device))
    return WindowReader(model)

"""Recordings from which the ranges of whole numbers are taken, and others on which the result is compared."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from s3prl_gendistiller.distill.audio import FORMATS, SAMPLE_RATE, SUFFIXES, read_audio
from s3prl_gendistiller.distill.files import files_below
from s3prl_gendistiller.errors import UserError

MOST_FILES = 64  # spread over the folder
PIECE_S = 5
LEAST_S = 20  # in the folder: three pieces for the ranges, one to compare
MOST_PIECES = 96
SILENT = 1e-4  # of full scale: the loudest sample of a recording of nothing
_SHARE = 4  # every fourth file, or piece, is held out


class Calibration(NamedTuple):
    """Pieces of speech, each (S,) at 16 kHz."""

    ranges: list[Tensor]
    held_out: list[Tensor]


def read_calibration(folder: Path) -> Calibration:
    """Pieces of at most five seconds from a folder of recordings, at any depth.

    Recordings are held out as a whole where there are four or more; otherwise every fourth piece is.

    Raises:
        UserError: the folder is missing, has no recording or too little speech, or a recording cannot be read, is
            shorter than a frame, or is silent.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder, expected one with recordings ({FORMATS})")
    files = list(files_below(folder, SUFFIXES))
    if not files:
        raise UserError(f"{folder}: found no recording to take ranges from, expected {FORMATS}; name another folder")
    files = files[:: -(-len(files) // MOST_FILES)]
    each = -(-MOST_PIECES // len(files))
    recordings = [_pieces(path, each) for path in files]
    seconds = sum(len(piece) for pieces in recordings for piece in pieces) / SAMPLE_RATE
    if seconds < LEAST_S:
        raise UserError(
            f"{folder}: found {seconds:.1f} s in {len(files)} recordings, expected at least {LEAST_S} s "
            "of speech; add recordings"
        )
    if len(recordings) < _SHARE:
        recordings = [[piece] for pieces in recordings for piece in pieces]
    held_out = [piece for pieces in recordings[_SHARE - 1 :: _SHARE] for piece in pieces]
    del recordings[_SHARE - 1 :: _SHARE]
    return Calibration([piece for pieces in recordings for piece in pieces], held_out)


def _pieces(path: Path, most: int) -> list[Tensor]:
    """The first pieces of a recording; a short rest is left out beside a whole piece."""
    length = PIECE_S * SAMPLE_RATE
    wav = read_audio(path)[: most * length]
    if float(wav.abs().max()) < SILENT:
        raise UserError(f"{path}: is silent, expected speech to take ranges from; remove the file")
    pieces = list(torch.split(wav, length))
    return pieces if len(pieces) == 1 or len(pieces[-1]) >= SAMPLE_RATE else pieces[:-1]

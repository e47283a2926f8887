"""Errors of long audio in pieces and of streams, against the whole recording.

    python benchmarks/long_audio.py STUDENT [STUDENT ...] --audio FOLDER --seconds 60 --out result/long_audio.md

Recordings of the folder, in a drawn order, are joined in memory to one recording. The error is the norm of the
difference over the norm of the whole recording's frames. The tables give z, which enters the first layer, and the last
layer, each as the mean over the students. `own` is the last layer of pieces that a student reads as recordings of their
own, with the statistics of each window. A stream gives pieces of `PIECE_S`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from s3prl_gendistiller import load_student
from s3prl_gendistiller.cli.launch import guarded
from s3prl_gendistiller.distill.audio import SAMPLE_RATE, SUFFIXES, read_audio
from s3prl_gendistiller.distill.files import files_below
from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.inference.feature_models import TorchStudent
from s3prl_gendistiller.inference.frame_stream import FRAMES_PER_SECOND, FrameStream, WindowReader
from s3prl_gendistiller.inference.long_audio import states_in_chunks
from s3prl_gendistiller.inference.stream import StudentStream
from s3prl_gendistiller.models.student import Student
from s3prl_gendistiller.outputs import check_writable, write_text
from s3prl_gendistiller.superb.suite.table import markdown

CHUNKS = ((30.0, 2.0), (10.0, 2.0), (10.0, 1.0), (10.0, 0.0), (5.0, 2.0), (2.0, 2.0))  # seconds, overlap
CONTEXTS, LOOKAHEADS, PIECE_S = (0.5, 1.0, 2.0, 10.0), (0.0, 0.5, 1.3), 0.5
PART = 16_000  # samples that are pushed at a time


def run(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("students", nargs="+", help="checkpoints or folders of runs")
    parser.add_argument("--audio", type=Path, required=True, help="folder of recordings")
    parser.add_argument("--seconds", type=float, default=60.0, help="length of the joined recording (60)")
    parser.add_argument("--seed", type=int, default=0, help="of the order of the recordings")
    parser.add_argument("--out", type=Path, help="file for the tables")
    args = parser.parse_args(argv)
    if args.out is not None:
        check_writable(args.out, "--out", folder=False)
    torch.set_num_threads(1)
    wav = joined(args.audio, round(args.seconds * SAMPLE_RATE), args.seed)
    students = [load_student(place) for place in args.students]
    whole = [[state[0] for state in student.generate(wav).hidden_states] for student in students]
    tables = (chunk_table(students, wav, whole), stream_table(students, wav, whole))
    text = "\n".join([f"{len(students)} student(s), {len(wav) / SAMPLE_RATE:g} s\n", *tables])
    print(text, end="")
    if args.out is not None:
        write_text(args.out, text)
    return 0


def joined(folder: Path, samples: int, seed: int) -> Tensor:
    """(S,) at 16 kHz of recordings of a folder, one behind another; a UserError if they are shorter together."""
    paths = sorted(files_below(folder, SUFFIXES))
    np.random.default_rng(seed).shuffle(paths)
    parts, total = [], 0
    for path in paths:
        parts.append(read_audio(path))
        total += len(parts[-1])
        if total >= samples:
            return torch.cat(parts)[:samples]
    raise UserError(f"{folder}: found {total / SAMPLE_RATE:g} s, expected {samples / SAMPLE_RATE:g} s; see --seconds")


def chunk_table(students: Sequence[Student], wav: Tensor, whole: Sequence[Sequence[Tensor]]) -> str:
    rows = []
    for chunk, overlap in CHUNKS:
        errors = []
        for student, wanted in zip(students, whole, strict=True):
            model = TorchStudent(student, "student")
            pieces = states_in_chunks(model, lambda: wav.split(PART), chunk_s=chunk, overlap_s=overlap)
            own = compared(own_pieces(model, wav, chunk, overlap), wanted)
            errors.append((*compared(pieces, wanted), own[1]))
        rows.append([f"{chunk:g} s + {overlap:g} s", *means(errors)])
    return markdown([["chunk + overlap", "z", "last layer", "own"], *rows])


def stream_table(students: Sequence[Student], wav: Tensor, whole: Sequence[Sequence[Tensor]]) -> str:
    rows = []
    for lookahead in LOOKAHEADS:
        for context in CONTEXTS:
            errors, latency = [], 0.0
            for student, wanted in zip(students, whole, strict=True):
                stream = StudentStream(student, context_s=context, lookahead_s=lookahead, piece_s=PIECE_S)
                latency = max(latency, stream.latency_s)
                pieces = [*(stream.push(part) for part in wav.split(PART)), stream.finish()]
                errors.append(compared(pieces, wanted))
            rows.append([f"{context:g} s", f"{lookahead:g} s", f"{latency:.2f} s", *means(errors)])
    return markdown([["context", "look-ahead", "latency", "z", "last layer"], *rows])


def own_pieces(model: TorchStudent, wav: Tensor, chunk_s: float, overlap_s: float) -> Iterator[list[Tensor]]:
    around = round(overlap_s * FRAMES_PER_SECOND)
    piece = round(chunk_s * FRAMES_PER_SECOND)
    stream = FrameStream(WindowReader(model), piece=piece, before=around, after=around)
    yield from stream.push(wav)
    yield from stream.finish()


def compared(pieces: Iterable[list[Tensor]], whole: Sequence[Tensor]) -> tuple[float, float]:
    """The relative errors of z and of the last layer, whose frames are as many as those of the whole recording."""
    found = [torch.cat(states) for states in zip(*pieces, strict=True)]
    first, last = (float((found[at] - whole[at]).norm() / whole[at].norm()) for at in (0, -1))
    return first, last


def means(errors: Sequence[Sequence[float]]) -> list[str]:
    return [f"{sum(column) / len(column):.3f}" for column in zip(*errors, strict=True)]


if __name__ == "__main__":
    sys.exit(guarded(run, None))

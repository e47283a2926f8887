"""A student as an ONNX graph whose weights are whole numbers of 8 bits, as far as its hidden states stay the same."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.export.calibration import Calibration, read_calibration
from s3prl_gendistiller.export.card import Card
from s3prl_gendistiller.export.onnx_folder import agreement, set_properties, write_graph, write_texts_beside
from s3prl_gendistiller.export.onnx_graph import require_packages
from s3prl_gendistiller.export.onnx_quantisation import VARIANTS, Variant, quantise
from s3prl_gendistiller.export.student_files import README, StudentFiles, read_student
from s3prl_gendistiller.inference.onnx_session import OnnxSession
from s3prl_gendistiller.models.upstream import CONFIG, GRAPH
from s3prl_gendistiller.models.waveforms import SAMPLE_RATE
from s3prl_gendistiller.outputs import atomic_folder

FORMAT = "onnx-int8"
LEAST = 0.99
"""Cosine between a frame with whole numbers and the same frame in float, in the mean over a recording."""
TIMED_S = 10
_REPEATS = 3
_SECTION = """\
## Whole numbers

Variant: {about}.

The ranges come from {ranges} pieces of speech. On {held_out} other pieces, this graph was compared with the graph in
float, whose agreement with torch stands below: the cosine between the frames of both, in the mean over all pieces, and
in the mean over the piece with the lowest one (at least {least}):

| hidden state | cosine | lowest piece |
|---|---|---|
{rows}

The file has {size:.1f} MB, and the graph in float has {float_size:.1f} MB. On one thread of the machine that wrote
both, the graph in float takes {ratio:.2f} times as long for {seconds} s of audio.
"""


def write_onnx_int8(
    checkpoint: Path, folder: Path, card: Card, steps: int | None = None, *, calibration: Path
) -> list[Path]:
    """Writes model.onnx, config.json and the model card.

    The variants of `onnx_quantisation` are tried from the fastest on; the first one whose frames have a cosine of
    `LEAST` with those in float, in every hidden state and on every held-out piece of speech, is written.

    Args:
        folder: a new folder, which appears only when it is complete; the returned files are relative to it.
        steps: number of layers of the graph; None for all.
        calibration: a folder with recordings of speech.

    Raises:
        UserError: as `onnx_folder.write_onnx` and `read_calibration`; or no variant is close enough.
    """
    require_packages()
    files = read_student(checkpoint, steps)
    speech = read_calibration(calibration)
    with atomic_folder(folder, "the graph") as partial, tempfile.TemporaryDirectory() as beside:
        exact = Path(beside) / GRAPH
        differences = write_graph(checkpoint, exact, files)
        section = _write_first_close(exact, partial / GRAPH, speech, files)
        write_texts_beside(partial, files, card, FORMAT, f"{section}\n{agreement(differences)}")
    return sorted(map(Path, (GRAPH, CONFIG, README)))


def _write_first_close(exact: Path, target: Path, speech: Calibration, files: StudentFiles) -> str:
    """Writes the first variant that is close enough; the section of the card about it."""
    import onnx

    wanted = OnnxSession(exact, threads=1)
    tried = []
    for variant in VARIANTS:
        quantise(exact, target, variant, speech.ranges)
        model = onnx.load(str(target))
        set_properties(model, files, FORMAT)
        target.write_bytes(model.SerializeToString())
        session = OnnxSession(target, threads=1)
        found = cosines(wanted, session, speech.held_out)
        if bool((found >= LEAST).all()):
            return _section(variant, found, speech, (exact, target), time_ratio(wanted, session, speech.held_out))
        tried.append(f"{variant.about}: {float(found.min()):.3f}")
    raise UserError(
        f"ONNX: found no variant with whole numbers whose frames have a cosine of {LEAST} with those in float "
        f"({'; '.join(tried)}); use the format onnx, or recordings that are more like speech"
    )


def cosines(wanted: OnnxSession, found: OnnxSession, pieces: Sequence[Tensor]) -> Tensor:
    """(pieces, hidden states): the cosine between the frames of two graphs, in the mean over each piece (S,)."""
    rows = []
    for piece in pieces:
        batch = piece.unsqueeze(0), torch.tensor([len(piece)])
        pairs = zip(wanted(*batch)[0], found(*batch)[0], strict=True)
        rows.append(torch.stack([cosine_similarity(a, b, dim=-1).mean() for a, b in pairs]))
    return torch.stack(rows)


def time_ratio(slow: OnnxSession, fast: OnnxSession, pieces: Sequence[Tensor]) -> float:
    """How many times as long the first graph takes for `TIMED_S` seconds of audio; medians of interleaved runs."""
    joined = torch.cat([*pieces])
    repeated = joined.repeat(-(-TIMED_S * SAMPLE_RATE // len(joined)))[: TIMED_S * SAMPLE_RATE]
    batch = repeated.unsqueeze(0), torch.tensor([len(repeated)])
    taken: dict[OnnxSession, list[float]] = {slow: [], fast: []}
    for _ in range(_REPEATS):
        for session, times in taken.items():
            begin = time.perf_counter()
            session(*batch)
            times.append(time.perf_counter() - begin)
    return statistics.median(taken[slow]) / statistics.median(taken[fast])


def _section(variant: Variant, found: Tensor, speech: Calibration, paths: tuple[Path, Path], ratio: float) -> str:
    pairs = zip(found.mean(0).tolist(), found.amin(0).tolist(), strict=True)
    rows = [f"| {index} | {mean:.4f} | {low:.4f} |" for index, (mean, low) in enumerate(pairs)]
    float_size, size = (path.stat().st_size / 1e6 for path in paths)
    return _SECTION.format(
        about=variant.about,
        ranges=len(speech.ranges),
        held_out=len(speech.held_out),
        least=LEAST,
        rows="\n".join(rows),
        size=size,
        float_size=float_size,
        seconds=TIMED_S,
        ratio=ratio,
    )

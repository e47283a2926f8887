"""Inference at paper scale: torch, ONNX and int8, teacher and students, as ratios to s3prl's DistilHuBERT.

    python benchmarks/inference.py --out result/inference
    python benchmarks/inference.py --calibration DIR --seconds 3 10 --threads 1 --forms gendistiller mel_slim_no_norm

A form is a configuration as of benchmarks/front_ends.py; @K stops it after K generated layers. Each form is measured in
torch, its whole form as ONNX too and, with --calibration and its recordings of speech, as int8. Weights are random, so
int8 is written only where random weights pass its check. The teacher is HuBERT Base of transformers.

All models take one utterance at a time and alternate in one process; medians of wall time are compared. Peak memory is
that of a process of its own that loads the model and runs it on the longest utterance, above a process that has only
imported the libraries. The output also states the machine's matrix product in G multiply-adds per second on one thread,
and for torch the share of it that each model reaches.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from front_ends import REFERENCE, contenders
from s3prl_gendistiller.cli.launch import guarded
from s3prl_gendistiller.distill.audio import MIN_SAMPLES, SAMPLE_RATE
from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.export.card import Card
from s3prl_gendistiller.export.onnx_folder import write_onnx
from s3prl_gendistiller.export.onnx_int8 import write_onnx_int8
from s3prl_gendistiller.host import compat
from s3prl_gendistiller.host.students import build_student, load_student
from s3prl_gendistiller.inference.onnx_student import OnnxStudent
from s3prl_gendistiller.models.upstream import GRAPH
from s3prl_gendistiller.outputs import check_writable, write_text
from s3prl_gendistiller.schema import to_dict
from s3prl_gendistiller.student_kinds import kind_of
from s3prl_gendistiller.superb.cost.counted_models import AsUpstream
from s3prl_gendistiller.superb.cost.leaderboard_protocol import count_protocol
from s3prl_gendistiller.superb.pictures import chart
from s3prl_gendistiller.superb.suite.table import markdown
from stock import memory
from stock.distiller import load_distiller, write_random_distiller
from stock.training import medians, noise, stock_config

FORMS = ("gendistiller", "gendistiller@1", "gendistiller@2", "mel_slim_no_norm", "mel_slim_no_norm@1")
Run = Callable[[Tensor], object]


@dataclass(frozen=True)
class Row:
    """One model that is measured.

    Attributes:
        form: "torch", "ONNX" or "ONNX int8".
        load: (threads) to a function of one utterance (1, S).
        megabytes: size of its weights or its file.
        gmacs_per_s: billions of multiply-adds per second of audio; None where they are not counted.
        parameters: number of parameters in use.
    """

    name: str
    form: str
    load: Callable[[int], Run]
    megabytes: float
    parameters: int
    gmacs_per_s: float | None

    @property
    def label(self) -> str:
        return self.name if self.form == "torch" else f"{self.name}, {self.form}"


def torch_row(name: str, build: Callable[[], Callable[[list[Tensor]], object]]) -> Row:
    """A model of torch that takes a list of waveforms (S,)."""

    def load(threads: int) -> Run:
        torch.set_num_threads(threads)
        model = build()
        return lambda wavs: model(list(wavs))

    model = build()
    assert isinstance(model, torch.nn.Module)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    counted = count_protocol(model)
    return Row(name, "torch", load, 4e-6 * parameters, parameters, counted.per_second / 1e9)


def onnx_row(base: Row, form: str, folder: Path, steps: int | None) -> Row:
    """The ONNX folder of a student of torch."""
    megabytes = (folder / GRAPH).stat().st_size / 1e6
    return Row(base.name, form, lambda threads: _onnx(folder, steps, threads), megabytes, base.parameters, None)


def _onnx(folder: Path, steps: int | None, threads: int) -> Run:
    student = OnnxStudent(folder, steps, threads)
    return lambda wavs: student(wavs)


def rows(texts: Sequence[str], folder: Path, calibration: Path | None) -> tuple[list[Row], list[str]]:
    """Every model, the reference first, and a line for each that could not be made."""
    distiller = write_random_distiller(folder / "distiller.ckpt", stock_config())
    found = [torch_row(REFERENCE, lambda: load_distiller(distiller)), torch_row("HuBERT Base (teacher)", teacher)]
    problems = []
    for name, contender in contenders(texts).items():
        checkpoint = folder / f"{name}.ckpt"
        _save(build_student(contender.config), contender.config, checkpoint)
        base = torch_row(name, partial(_loaded, checkpoint, contender.steps))
        found.append(base)
        if contender.steps is not None:
            continue
        card = Card(name, base.parameters, base.gmacs_per_s or 0.0, 1)
        writers: dict[str, Callable[..., object]] = {"ONNX": partial(write_onnx, checkpoint, card=card)}
        if calibration is not None:
            writers["ONNX int8"] = partial(write_onnx_int8, checkpoint, card=card, calibration=calibration)
        for form, write in writers.items():
            out = folder / f"{name} {form}"
            try:
                write(folder=out)
                found.append(onnx_row(base, form, out, None))
            except UserError as error:
                problems.append(f"{name}, {form}: {error}")
    return found, problems


def _loaded(checkpoint: Path, steps: int | None) -> AsUpstream:
    return AsUpstream(load_student(checkpoint), steps=steps).eval()


def teacher() -> torch.nn.Module:
    """HuBERT Base with random weights, called with a list of waveforms (S,)."""
    from transformers import HubertConfig, HubertModel

    class Teacher(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = HubertModel(HubertConfig())

        def forward(self, wavs: list[Tensor]) -> object:
            return self.model(torch.stack(wavs), output_hidden_states=True)

    return Teacher().eval()


def _save(student: torch.nn.Module, config: object, path: Path) -> None:
    kind = kind_of(config)  # type: ignore[arg-type]
    weights = {kind.weights: student.stored_module.state_dict(), "Upstream_Config": to_dict(config)}  # type: ignore
    torch.save({**weights, "Format_Version": 1, "Step": 0, "Args": argparse.Namespace()}, path)


def peak_mib(row: Row, samples: int) -> float:
    """Memory in MiB of loading a model and running it once, in a process of its own."""
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    process = context.Process(target=_measure_peak, args=(row, samples, results))
    process.start()
    found: float = results.get()
    process.join()
    return found


@torch.no_grad()
def _measure_peak(row: Row, samples: int, results: Any) -> None:
    peak = memory.Peak(torch.device("cpu"))
    row.load(1)(noise(1, samples))
    results.put((peak.gib() or float("nan")) * 1024)


@torch.no_grad()
def times(found: Sequence[Row], seconds: Sequence[float], threads: int, rounds: int) -> dict[float, dict[str, float]]:
    """Length -> label -> median seconds for one utterance of that length."""
    runs = {row.label: row.load(threads) for row in found}
    torch.set_num_threads(threads)
    taken = {}
    for length in seconds:
        wavs = noise(1, round(length * SAMPLE_RATE))
        calls = {label: partial(run, wavs) for label, run in runs.items()}
        taken[length] = medians(calls, rounds, f"{threads} thread(s), {length:g} s")
    return taken


def matrix_peak(rounds: int = 9) -> float:
    """G multiply-adds per second of a large matrix product of torch on one thread."""
    torch.set_num_threads(1)
    size = 1024
    a, b = torch.randn(size, size), torch.randn(size, size)
    return size**3 / medians({"product": lambda: a @ b}, rounds, "matrix product")["product"] / 1e9


def table(
    found: Sequence[Row],
    taken: Mapping[int, Mapping[float, Mapping[str, float]]],
    peaks: Mapping[str, float],
    machine_peak: float,
) -> str:
    """A row for each model: sizes, memory, for each number of threads and length the speed against the reference."""
    columns = [(threads, length) for threads, lengths in taken.items() for length in lengths]
    header = [
        "model",
        "form",
        "parameters",
        "MB",
        "peak MiB",
        *(f"{t} thread(s), {n:g} s: times as fast" for t, n in columns),
    ]
    lines = [[*header, "share of the matrix peak"]]
    for row in found:
        speeds = [f"{taken[t][n][REFERENCE] / taken[t][n][row.label]:.2f}" for t, n in columns]
        share = ""
        if row.gmacs_per_s is not None and 1 in taken:
            length = max(taken[1])
            share = f"{row.gmacs_per_s * length / taken[1][length][row.label] / machine_peak:.0%}"
        sizes = [f"{row.parameters:,}", f"{row.megabytes:.1f}", f"{peaks[row.label]:.0f}"]
        lines.append([row.name, row.form, *sizes, *speeds, share])
    return markdown(lines)


def draw(found: Sequence[Row], taken: Mapping[str, float], length: float, out: Path) -> None:
    """Size of the file against seconds of computation per second of audio."""
    with chart(out, 7, 5) as [axis]:
        for row in found:
            x, y = row.megabytes, taken[row.label] / length
            axis.scatter(
                x,
                y,
                marker={"torch": "o", "ONNX": "s"}.get(row.form, "^"),
                color="C0" if row.name != REFERENCE else "C1",
            )
            axis.annotate(row.label, (x, y), xytext=(5, 4), textcoords="offset points", fontsize=7)
        axis.set_xscale("log")
        axis.set_yscale("log")
        axis.set_xlabel("MB of weights")
        axis.set_ylabel(f"seconds per second of audio, one thread, {length:g} s")


def run(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--forms", nargs="+", default=FORMS)
    parser.add_argument("--seconds", type=float, nargs="+", default=[3, 10, 30], help="lengths of the utterances")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--calibration", type=Path, metavar="DIR", help="recordings of speech, for int8")
    parser.add_argument("--out", type=Path, default=Path("result/inference"), help="folder of table.md and chart.png")
    args = parser.parse_args(argv)
    if min(args.rounds, *args.threads) < 1 or min(args.seconds) * SAMPLE_RATE < MIN_SAMPLES:
        raise UserError("--rounds, --threads, --seconds: expected 1 or more, and utterances of at least 25 ms")
    check_writable(args.out, "--out", folder=True)
    load = os.getloadavg()[0]
    compat.apply()
    torch.set_num_threads(1)  # a process that is forked beside running threads would wait for them
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        found, problems = rows(args.forms, Path(folder), args.calibration)
        longest = round(max(args.seconds) * SAMPLE_RATE)
        peaks = {row.label: peak_mib(row, longest) for row in found}
        taken = {threads: times(found, args.seconds, threads, args.rounds) for threads in args.threads}
        peak = matrix_peak()
    facts = (
        f"torch {torch.__version__}, {os.cpu_count()} cores, load {load:.2f} before the start; medians of "
        f"{args.rounds} rounds in turns; {REFERENCE} is 1. "
        f"A matrix product on one thread: {peak:.0f} G multiply-adds per second."
    )
    parts = [facts, table(found, taken, peaks, peak), *problems]
    text = "\n\n".join(part.rstrip() for part in parts) + "\n"
    write_text(args.out / "table.md", text)
    threads, length = args.threads[0], args.seconds[-1]
    draw(found, taken[threads][length], length, args.out / "chart.png")
    print(text, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(guarded(run, None))

"""Cost of front ends at paper scale: inference on one thread and training steps, as ratios to s3prl's DistilHuBERT.

    python benchmarks/front_ends.py --s3prl path/to/s3prl/s3prl --out result/front_ends.md
    python benchmarks/front_ends.py --forms gendistiller mel+position_31 mel+position_31@1 --seconds 10

A form is `gendistiller` or `distilhubert`, or ablations of pretrain_configs/ and YAML files that state a difference,
joined by +, always over the shipped configuration at paper scale; @K stops it after K generated layers. All weights are
random.

Inference: one utterance at a time, as `run_downstream.py` extracts features. The reference is s3prl's `distiller_local`
with the configuration of the released DistilHuBERT. Its three prediction heads run, because s3prl's feature extraction
runs them; so do those of our DistilHuBERT.

Training: forward of the teacher, forward and backward of the student, clipping of the gradient, s3prl's AdamW;
2 crops of 5 s in float32. The teacher is s3prl's HuBERT Base, with all its layers computed. The reference is
`DistillerForPretrain` of s3prl's repository, with the same targets (4, 8, 12). The installed package lacks that code:
without --s3prl no training is measured. As s3prl's Runner does, the reference puts its teacher into training mode, with
dropout; our teachers stay in eval mode. benchmarks/throughput.py measures training on GPUs, and the parts of a step.

All models alternate in one process, and medians of wall time are compared. Multiply-adds are those of `gendistiller
macs`. The times of a busy machine say little: the output states its load, its cores, and the threads of each part.
"""

from __future__ import annotations

import argparse
import itertools
import os
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from miniature.forms import form_name
from s3prl_gendistiller import student_kinds
from s3prl_gendistiller.cli.launch import guarded
from s3prl_gendistiller.config import ModelConfig
from s3prl_gendistiller.distill.audio import MIN_SAMPLES, SAMPLE_RATE
from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.host import compat
from s3prl_gendistiller.host.hub_teacher import load_hub_teacher
from s3prl_gendistiller.host.students import build_student
from s3prl_gendistiller.outputs import check_writable, write_text
from s3prl_gendistiller.superb.cost.counted_models import AsUpstream
from s3prl_gendistiller.superb.cost.leaderboard_protocol import LENGTHS, count_protocol
from s3prl_gendistiller.superb.suite.table import markdown
from stock.distiller import StockStep, check_host, load_distiller, write_random_distiller, write_random_hubert
from stock.training import medians, noise, optimiser_step, our_loss, our_task, paper_config, stock_config

FORMS = ("gendistiller", "mel", "mel+position_31", "mel+position_31@1", "distilhubert", "distilhubert_mel")
REFERENCE = "s3prl's DistilHuBERT"
INFERENCE_THREADS, TRAINING_THREADS = 1, 2
BATCH, CROP_SAMPLES = 2, 5 * SAMPLE_RATE
HUBERT_BASE: dict[str, object] = {}
"""Keys of s3prl's HubertConfig in which the teacher differs from HuBERT Base."""


class Contender(NamedTuple):
    """A student that is measured.

    Attributes:
        steps: number of generated layers; None for all.
    """

    config: ModelConfig
    steps: int | None = None


def contenders(texts: Sequence[str]) -> dict[str, Contender]:
    """The students of forms, by name; a UserError lists every form that is none."""
    found, problems = {}, []
    for text in texts:
        stem, steps = text.rpartition("@")[::2] if text.rpartition("@")[2].isdecimal() else (text, "")
        try:
            config = paper_config(stem)
        except UserError as error:
            problems.append(str(error))
            continue
        layers = len(config.distill.target_layers) if student_kinds.kind_of(config).stepwise else 0
        if steps and not 1 <= int(steps) <= layers:
            expected = f"@1 to @{layers}" if layers else "no @, because it generates no layers"
            problems.append(f"form of a student: found {text}, expected {expected}")
        name = f"{form_name(stem)}@{steps}" if steps else form_name(stem)
        if name in found:
            problems.append(f"--forms: found {name} more than once, expected a name of its own for each form")
        found[name] = Contender(config, int(steps) if steps else None)
    if problems:
        raise UserError("\n".join(problems))
    return found


def upstreams(found: Mapping[str, Contender], folder: Path) -> dict[str, nn.Module]:
    """The reference and the students in eval mode, each called with a list of waveforms (S,)."""
    experts = {REFERENCE: load_distiller(write_random_distiller(folder / "distiller.ckpt", stock_config()))}
    for name, contender in found.items():
        experts[name] = AsUpstream(build_student(contender.config).for_use(), steps=contender.steps).eval()
    return experts


@torch.no_grad()
def inference(experts: Mapping[str, nn.Module], seconds: Sequence[float], rounds: int) -> dict[float, dict[str, float]]:
    """Length -> model -> median seconds for one utterance of that length."""
    torch.set_num_threads(INFERENCE_THREADS)
    found = {}
    for length in seconds:
        wavs = list(noise(1, round(length * SAMPLE_RATE)))
        runs = {name: lambda expert=expert, wavs=wavs: expert(wavs) for name, expert in experts.items()}
        found[length] = medians(runs, rounds, f"inference, {length:g} s")
    return found


def cost_table(experts: Mapping[str, nn.Module], times: Mapping[float, Mapping[str, float]]) -> str:
    """A row for each model: parameters, multiply-adds, and for each length its time and speed against the reference."""
    header = ["model", "parameters", f"G multiply-adds, {len(LENGTHS)} utterances"]
    rows = [[*header, *itertools.chain.from_iterable((f"{n:g} s: s", f"{n:g} s: times as fast") for n in times)]]
    for name, expert in experts.items():
        row = [name, f"{sum(p.numel() for p in expert.parameters()):,}", f"{count_protocol(expert).total / 1e9:.1f}"]
        for medians_of_length in times.values():
            row += _time_and_speed(medians_of_length, name)
        rows.append(row)
    return markdown(rows)


def training(found: Mapping[str, Contender], host: Path, folder: Path, rounds: int) -> dict[str, float]:
    """Model -> median seconds of an optimiser step; forms that differ in @K alone are one student in training."""
    torch.set_num_threads(TRAINING_THREADS)
    teacher = write_random_hubert(folder / "hubert.pt", **HUBERT_BASE)
    wavs = noise(BATCH, CROP_SAMPLES)
    losses: dict[str, tuple[nn.Module, Callable[[], Tensor]]] = {}
    stock = StockStep(host, stock_config(), teacher)
    losses[REFERENCE] = (stock, lambda: stock(wavs))
    for name, contender in found.items():
        if contender.steps is None:
            task = our_task(contender.config, load_hub_teacher("hubert_local", str(teacher)))
            losses[name] = (task, our_loss(task, wavs, contender.config))
    return medians({name: optimiser_step(*parts) for name, parts in losses.items()}, rounds, "training")


def training_table(times: Mapping[str, float]) -> str:
    rows = [["model", "s a step", "steps per s", "times as fast"]]
    for name in times:
        seconds, speed = _time_and_speed(times, name)
        rows.append([name, seconds, f"{1 / times[name]:.3f}", speed])
    return markdown(rows)


def _time_and_speed(times: Mapping[str, float], name: str) -> tuple[str, str]:
    return f"{times[name]:.3f}", f"{times[REFERENCE] / times[name]:.2f}"


def machine(load: float, rounds: int) -> str:
    """The facts on which the times depend."""
    return (
        f"torch {torch.__version__}, {os.cpu_count()} cores, load {load:.2f} before the start. Inference on "
        f"{INFERENCE_THREADS} thread, training on {TRAINING_THREADS}; medians of {rounds} rounds in turns. "
        f'"Times as fast": time of {REFERENCE} over time of the model.'
    )


def run(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--forms", nargs="+", default=FORMS)
    parser.add_argument("--seconds", type=float, nargs="+", default=[3, 10, 30], help="lengths of the utterances")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--s3prl", type=Path, metavar="DIR", help="folder s3prl/ of s3prl's repository, for training")
    parser.add_argument("--out", type=Path, default=Path("result/front_ends.md"), help="Markdown")
    args = parser.parse_args(argv)
    load = os.getloadavg()[0]
    if args.rounds < 1 or min(args.seconds) * SAMPLE_RATE < MIN_SAMPLES:
        raise UserError("--rounds, --seconds: expected at least 1 round, and utterances of at least one frame (25 ms)")
    check_writable(args.out, "--out", folder=False)
    found = contenders(args.forms)
    if args.s3prl is not None:
        check_host(args.s3prl)
    compat.apply()
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        experts = upstreams(found, Path(folder))
        parts = [machine(load, args.rounds), cost_table(experts, inference(experts, args.seconds, args.rounds))]
        del experts
        if args.s3prl is None:
            parts.append("Training was not measured: it needs s3prl's repository (--s3prl).")
        else:
            parts.append(f"An optimiser step, {BATCH} crops of {CROP_SAMPLES / SAMPLE_RATE:g} s, teacher HuBERT Base:")
            parts.append(training_table(training(found, args.s3prl, Path(folder), args.rounds)))
    text = "\n".join(f"{part.rstrip()}\n" for part in parts)
    write_text(args.out, text)
    print(text, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(guarded(run, None))

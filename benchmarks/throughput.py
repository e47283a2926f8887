"""Training steps of s3prl's own distiller and of our students: speed, memory, and the share of each part.

    python benchmarks/throughput.py --s3prl path/to/s3prl/s3prl                     # a CPU: 2 crops of 5 s, HuBERT Base
    python benchmarks/throughput.py --s3prl path/to/s3prl/s3prl --device cuda --minutes 3   # 24 of 15.6 s, WavLM Base+
    python benchmarks/throughput.py --forms gendistiller share_front_end mel+position_31    # ours alone

A form is `gendistiller` or `distilhubert`, or ablations of pretrain_configs/ and YAML files that state a difference,
joined by +, always over the shipped configuration at paper scale. All weights are random. All contenders get the same
teacher, the same batch and s3prl's own optimiser, and take their steps in the order of s3prl's Runner.

Contenders take turns in one process: an untimed step, then two timed ones. A step begins with a batch in memory and
copies that batch to the device. "Times as fast" is the median over the rounds of the ratio of two times in one round,
which other programs on the machine change less than the times themselves.

Each contender computes as it ships. s3prl's distiller has a teacher in training mode, with dropout and in float32; on a
GPU it has one row in float32 and one with the Runner's fp16, which its configuration sets. Ours follow `precision:
auto`: bfloat16 on a GPU, float32 on a CPU. On a CPU our commands let glibc keep freed memory, which s3prl's script does
not; a second row is s3prl's distiller with that setting, too.

Parts: forward pass of the teacher; forward and backward pass of the student; those of the losses, with the copies to
the device; the optimiser with clipping. On a GPU, steps of their own are taken for the parts, with a wait after each
part. The loader is timed alone, on FLAC files 1.2 times as long as a crop. Reader processes (--workers) work beside the
steps, so they slow a run down only if a batch takes them longer than a step. Peak memory is that of building a
contender and of its first two steps.

A contender that does not fit in memory or fails is named in the table, and the others go on.
"""

from __future__ import annotations

import argparse
import functools
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from hubert.random_teacher import BASE, write_random_teacher
from miniature.forms import form_name
from s3prl_gendistiller.cli.launch import guarded
from s3prl_gendistiller.config import ModelConfig
from s3prl_gendistiller.distill.audio import SAMPLE_RATE
from s3prl_gendistiller.distill.compiling import compile_task
from s3prl_gendistiller.distill.data import TrainLoader
from s3prl_gendistiller.distill.teacher import Teacher
from s3prl_gendistiller.distill.transformers_teacher import load_transformers_teacher
from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.host import compat
from s3prl_gendistiller.host.devices import check_device
from s3prl_gendistiller.host.hub_teacher import load_hub_teacher
from s3prl_gendistiller.outputs import check_writable
from stock import memory, report
from stock.distiller import StockStep, check_host, stock_loader, write_random_hubert, write_random_wavlm
from stock.interleaved import TIMED, Contender, Step, measure
from stock.speech import counted, seconds_per_batch, write_speech
from stock.training import Clock, optimiser_step, our_loss, our_task, paper_config, stock_config

FORMS = ("gendistiller", "share_front_end", "distilhubert", "mel")
STOCK = "s3prl"  # beginning of the names of the rows of s3prl's distiller
SIZES: dict[str, Any] = {}
"""Keys of s3prl's configuration in which the teacher differs from HuBERT Base and WavLM Base+."""
FOLDER_SIZES = BASE
"""Sizes of a teacher in a transformers folder."""


class TeacherKind(NamedTuple):
    write: Callable[..., Path]
    entry: str  # of s3prl.hub
    model_type: str  # of transformers


TEACHERS = {
    "hubert_base": TeacherKind(write_random_hubert, "hubert_local", "hubert"),
    "wavlm_base_plus": TeacherKind(write_random_wavlm, "wavlm_local", "wavlm"),
}
DEFAULTS: dict[str, dict[str, Any]] = {
    "cpu": {"batch": 2, "seconds": 5.0, "teacher": "hubert_base", "rounds": 5, "workers": 0},
    "cuda": {"batch": 24, "seconds": 15.625, "teacher": "wavlm_base_plus", "rounds": 5, "workers": 8},
}


def stock_contenders(args: argparse.Namespace, device: torch.device, wavs: Tensor, teacher: Path) -> list[Contender]:
    """s3prl's distiller as it ships: the first row is the one that targets are stated against."""

    def build(clock: Clock, *, float16: bool = False) -> Step:
        entry = TEACHERS[args.teacher].entry
        step = StockStep(args.s3prl, stock_config(args.teacher), teacher, entry).to(device)
        clock.watch(step.model.teacher, step.model.distiller)
        return optimiser_step(step, lambda: step(wavs), clock, float16=float16)

    if device.type == "cuda":
        half = functools.partial(build, float16=True)
        return [Contender(f"{STOCK}, float32", build), Contender(f"{STOCK}, fp16", half)]
    rows = [Contender(STOCK, build, keeps_memory=False)]
    return [*rows, Contender(f"{STOCK}, our glibc setting", build)] if memory.can_switch() else rows


def our_contenders(
    configs: dict[str, ModelConfig],
    load: Callable[[], Teacher],
    device: torch.device,
    wavs: Tensor,
    suffix: str = "",
    *,
    compiled: bool = False,
) -> list[Contender]:
    """A row for each student, whose teacher `load` gives; each needs a teacher of its own, since some change it."""

    def build(clock: Clock, *, config: ModelConfig) -> Step:
        task = our_task(config, load(), device)
        if compiled:
            compile_task(task, 1, device)
        clock.watch(task.teacher, task.student)
        return optimiser_step(task, our_loss(task, wavs, config), clock)

    return [Contender(name + suffix, functools.partial(build, config=config)) for name, config in configs.items()]


def loaders(args: argparse.Namespace, root: Path, samples: int, pin: bool) -> tuple[dict[str, float], Tensor]:
    """Seconds in which the loader of s3prl ("s3prl") and ours ("ours") give a batch; our first batch (B, S)."""
    batches = args.workers + 1 + counted(args.workers)
    manifest = write_speech(root, args.batch, samples, batches)
    options: dict[str, Any] = {"batch_size": args.batch, "crop_samples": samples, "seed": 0, "pin_memory": pin}
    wavs = next(iter(TrainLoader([manifest], root, num_workers=0, **options))).wavs
    ours = TrainLoader([manifest], root, num_workers=args.workers, **options)
    found = {"ours": seconds_per_batch(ours, args.workers)}
    if args.s3prl is not None:
        stock = stock_loader(args.s3prl, root, manifest, args.batch, samples, args.workers, pin)
        found[STOCK] = seconds_per_batch(stock, args.workers)
    return found, wavs


def about(args: argparse.Namespace, device: torch.device, load: float, rounds: int, last: bool = True) -> str:
    """The facts on which the figures depend, after `rounds` rounds, of which the last one is `last`."""
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU, --threads {torch.get_num_threads()}"
    taken = f"{rounds} round{'s' * (rounds != 1)}"
    if rounds < args.rounds:
        why = f"because --minutes {args.minutes} were over" if last else "so far"
        taken += f" of {args.rounds}, {why},"
    return (
        f"torch {torch.__version__}, {where}, {os.cpu_count()} cores, load {load:.2f} before the start. Batches of "
        f"{args.batch} crops of {args.seconds:g} s, teacher {args.teacher} of random weights, "
        f"{taken} of {TIMED} timed steps."
    )


def save(
    args: argparse.Namespace,
    facts: Callable[[int, bool], str],
    rows: Sequence[Contender],
    references: Sequence[Contender],
    reading: dict[str, float],
    *,
    last: bool = False,
) -> str:
    """Writes the results so far, because a command may be stopped, and returns the text; `last` adds the chart."""
    entries = {
        row.name: report.summary(row, references, reading.get(STOCK if row in references else "ours")) for row in rows
    }
    names = [row.name for row in references if not row.problem]
    rounds = max(len(row.seconds) for row in rows)
    known = facts(rounds, last)
    lines = [known, report.table(entries, names, by_cpu_time=args.device == "cpu"), *cautions(args, references)]
    text = "\n\n".join(line.rstrip() for line in lines) + "\n"
    given = {name: str(value) if isinstance(value, Path) else value for name, value in vars(args).items()}
    content = {"about": known, "arguments": given, "rounds": rounds, "contenders": entries}
    report.write(args.out, text, content)
    if last:
        report.draw(args.out.with_suffix(".png"), entries, names[0] if names else "", known)
    return text


def cautions(args: argparse.Namespace, references: Sequence[Contender]) -> list[str]:
    """Sentences that a reader of the table needs."""
    lines = []
    if args.device == "cpu":
        lines.append("Ratios are of wall time, in parentheses of CPU time.")
    if not references:
        lines.append("s3prl's distiller was not measured: it needs s3prl's repository (--s3prl).")
    elif args.teacher != "hubert_base":
        lines.append(
            f"s3prl's configuration names hubert_base; its code also takes {args.teacher}, from which it copies the "
            "CNN alone."
        )
    readers = (
        f"{args.workers} reader processes" if args.workers else "no reader process, so that each step waits for it"
    )
    return [*lines, f"The loader was timed alone, with {readers}."]


def arguments(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--s3prl", type=Path, metavar="DIR", help="folder s3prl/ of s3prl's repository")
    add("--forms", nargs="+", default=FORMS, help="our students; default: %(default)s")
    add("--device", default="cpu", help="cpu, cuda or cuda:N; default: %(default)s")
    add("--batch", type=int, help="crops; default: 2 on a CPU, 24 on a GPU")
    add("--seconds", type=float, help="length of a crop; default: 5 on a CPU, 15.625 on a GPU")
    add("--teacher", choices=TEACHERS, help="default: hubert_base on a CPU, wavlm_base_plus on a GPU")
    add("--rounds", type=int, help="default: 5")
    add("--minutes", type=float, help="begin no round that would end later than this after the start")
    add("--workers", type=int, help="reader processes; default: 0 on a CPU, 8 on a GPU")
    add("--threads", type=int, help="of a CPU; default: torch's")
    add("--transformers", action="store_true", help="add rows of ours whose teacher is a transformers folder")
    add("--compile", nargs="+", default=[], metavar="FORM", help="add rows of these --forms with torch.compile")
    add("--out", type=Path, default=Path("result/throughput.md"), help="Markdown; .json and .png beside")
    args = parser.parse_args(argv)
    for name, value in DEFAULTS["cpu" if args.device == "cpu" else "cuda"].items():
        if getattr(args, name) is None:
            setattr(args, name, value)
    return args


def checked(args: argparse.Namespace) -> dict[str, ModelConfig]:
    """The configurations of the forms by name; a UserError lists all that is wrong with the arguments."""
    problems, configs = [], {}
    if min(args.rounds, args.batch) < 1 or args.seconds < 0.1 or args.workers < 0:
        problems.append("--rounds, --batch, --seconds, --workers: expected at least 1, 1, 0.1 and 0")
    if any(value is not None and value <= 0 for value in (args.minutes, args.threads)):
        problems.append("--minutes, --threads: expected more than 0")
    for text in args.forms:
        name = form_name(text)
        if name in configs:
            problems.append(f"--forms: found {name} more than once, expected a name of its own for each form")
        try:
            configs[name] = paper_config(text)
        except UserError as error:
            problems.append(str(error))
    if unknown := sorted(set(map(form_name, args.compile)) - set(map(form_name, args.forms))):
        problems.append(f"--compile: found {', '.join(unknown)}, expected some of --forms")
    checks: list[Callable[[], None]] = [functools.partial(check_device, args.device, "--device")]
    if args.s3prl is not None:
        checks.append(functools.partial(check_host, args.s3prl))
    for suffix in (args.out.suffix, ".json", ".png"):
        checks.append(functools.partial(check_writable, args.out.with_suffix(suffix), "--out", folder=False))
    if args.out.suffix in (".json", ".png"):
        problems.append(
            f"--out: found {args.out}, expected a name that ends in .md; {args.out.suffix} is written beside"
        )
    for check in checks:
        try:
            check()
        except UserError as error:
            problems.append(str(error))
    if problems:
        raise UserError("\n".join(problems))
    return configs


def run(argv: Sequence[str]) -> int:
    args, load = arguments(argv), os.getloadavg()[0]
    configs = checked(args)
    device = torch.device(args.device)
    compat.apply()
    torch.manual_seed(0)
    if device.type == "cuda":  # as s3prl's run_pretrain.py sets it for its runs and for ours
        torch.backends.cudnn.deterministic = True
    elif args.threads:
        torch.set_num_threads(args.threads)
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        root, kind = Path(folder), TEACHERS[args.teacher]
        file = kind.write(root / "teacher.pt", **SIZES)
        reading, wavs = loaders(args, root / "corpus", round(args.seconds * SAMPLE_RATE), device.type == "cuda")
        rows = [] if args.s3prl is None else stock_contenders(args, device, wavs, file)
        references = list(rows)
        hub = functools.partial(load_hub_teacher, kind.entry, str(file))
        rows += our_contenders(configs, hub, device, wavs)
        if args.transformers:
            there = write_random_teacher(root / "transformers", model_type=kind.model_type, **FOLDER_SIZES)
            rows += our_contenders(configs, lambda: load_transformers_teacher(there), device, wavs, ", transformers")
        if args.compile:
            some = {name: configs[name] for name in map(form_name, args.compile)}
            rows += our_contenders(some, hub, device, wavs, ", compiled", compiled=True)
        facts = functools.partial(about, args, device, load)
        results = functools.partial(save, args, facts, rows, references, reading)
        ends = began + 60 * args.minutes if args.minutes else float("inf")
        measure(rows, device, args.rounds, ends, results)
    print(results(last=True), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(guarded(run, None))

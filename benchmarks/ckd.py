"""Cost of objective `ckd` in a training step: time as a ratio, and peak memory.

    python benchmarks/ckd.py                       # B 8, 15 s (T 750), 12 layers of 768: about 10 minutes on two cores
    python benchmarks/ckd.py --batch 2 --seconds 5

GenDistiller at the teacher's width generates every layer of a HuBERT-shaped teacher of random weights. Steps with
and without `ckd` alternate in one process; medians are compared. Peak memory is measured in a process for each.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from tqdm import tqdm

from hubert.random_teacher import write_random_teacher
from s3prl_gendistiller.cli.launch import guarded
from s3prl_gendistiller.config_gendistiller import GenDistillerConfig
from s3prl_gendistiller.config_objectives import CkdConfig, LayerwiseConfig, ObjectiveConfig
from s3prl_gendistiller.distill.audio import SAMPLE_RATE
from s3prl_gendistiller.distill.objectives import Setting, build_objectives
from s3prl_gendistiller.distill.task import DistillTask
from s3prl_gendistiller.distill.teacher import Teacher
from s3prl_gendistiller.distill.transformers_teacher import load_transformers_teacher
from s3prl_gendistiller.host import compat
from s3prl_gendistiller.host.memory import peak_resident_gib
from s3prl_gendistiller.models.gendistiller import GenDistiller

VARIANTS: dict[str, tuple[ObjectiveConfig, ...]] = {
    "layerwise": (LayerwiseConfig(),),
    "layerwise + ckd": (LayerwiseConfig(), CkdConfig()),
}


def teacher_of(layers: int) -> Teacher:
    """A teacher with the shape of HuBERT Base and random weights."""
    with tempfile.TemporaryDirectory() as folder:
        written = write_random_teacher(
            Path(folder) / "teacher", width=768, layers=layers, heads=12, ffn=3072, conv_dim=512
        )
        return load_transformers_teacher(written)


def step(task: DistillTask, args: argparse.Namespace) -> float:
    """Seconds of a training step without the optimiser."""
    samples = int(args.seconds * SAMPLE_RATE)
    wavs = torch.randn(args.batch, samples, generator=torch.Generator().manual_seed(0)) * 0.1
    started = time.perf_counter()
    task.loss(task(wavs, torch.full((args.batch,), samples))).backward()
    seconds = time.perf_counter() - started
    task.student.zero_grad(set_to_none=True)
    return seconds


def build(args: argparse.Namespace, variants: list[str]) -> dict[str, DistillTask]:
    """One teacher and one student under each list of objectives."""
    torch.manual_seed(0)
    teacher, layers = teacher_of(args.layers), range(1, args.layers + 1)
    student = GenDistiller(GenDistillerConfig(), args.layers).train()
    return {
        name: DistillTask(student, teacher, build_objectives(VARIANTS[name], Setting(layers)), layers).train()
        for name in variants
    }


def run(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=15.0, help="length of each utterance; 50 frames a second")
    parser.add_argument("--layers", type=int, default=12, help="layers of the teacher, all of them distilled")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peak", choices=list(VARIANTS), help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    compat.apply()
    if args.peak:
        step(build(args, [args.peak])[args.peak], args)
        print(peak_resident_gib())
        return 0
    sizes = [f"--{name}={getattr(args, name)}" for name in ("batch", "seconds", "layers")]
    peaks = {}
    for name in VARIANTS:
        command = [sys.executable, __file__, "--peak", name, *sizes]
        peaks[name] = float(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[-1])
    tasks = build(args, list(VARIANTS))
    seconds: dict[str, list[float]] = {name: [] for name in tasks}
    for number in tqdm(range(args.rounds + 1), desc="steps"):
        for name, task in tasks.items():
            taken = step(task, args)
            if number:  # the first step allocates the memory
                seconds[name].append(taken)
    plain, more = (statistics.median(seconds[name]) for name in VARIANTS)
    print(f"a step: {plain:.2f} s, with ckd {more:.2f} s: ckd adds {more / plain - 1:.2f} of a step")
    print(f"peak: {peaks['layerwise']:.2f} GiB, with ckd {peaks['layerwise + ckd']:.2f} GiB")
    return 0


if __name__ == "__main__":
    sys.exit(guarded(run, None))

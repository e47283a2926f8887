"""The teacher's share of a training step: fused attention, and one pass of the CNN for teacher and student.

    python benchmarks/teacher_share.py --out result/teacher_share.md

Shapes of HuBERT Base and WavLM Base with random weights, 2 crops, all 12 layers, float32. Both forms of a model
alternate in one process. The ratio is the median over the rounds of the ratio of two neighbouring CPU times, which
other programs on the machine change less than wall time.

Attention: a forward pass of the teacher, fused against the attention that transformers computes by itself (WavLM), or
against its "eager" one (HuBERT, which transformers fuses by itself).

CNN: an optimiser step (forward of the teacher, forward and backward of the student, clipping, AdamW) of the students at
paper scale with `share_front_end: true`, against the shipped recipe, which trains the student's CNN.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch

from front_ends import BATCH
from hubert.random_teacher import BASE, write_random_teacher
from s3prl_gendistiller.cli.launch import guarded
from s3prl_gendistiller.config import ModelConfig
from s3prl_gendistiller.distill.audio import SAMPLE_RATE
from s3prl_gendistiller.distill.teacher import Teacher
from s3prl_gendistiller.distill.transformers_teacher import load_transformers_teacher
from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.host import compat
from s3prl_gendistiller.outputs import check_writable, write_text
from s3prl_gendistiller.superb.suite.table import markdown
from stock.training import noise, optimiser_step, our_loss, our_task, paper_config

STUDENTS = {"GenDistiller": "gendistiller", "DistilHuBERT": "distilhubert"}
SHARED = {"gendistiller": "share_front_end", "distilhubert": "distilhubert_share_front_end"}
LAYERS = (4, 8, 12)
Pair = tuple[Callable[[], object], Callable[[], object]]


def compared(pairs: Mapping[str, Pair], rounds: int) -> str:
    """A row for each pair (before, after): median CPU seconds of both, and the median of their ratios."""
    rows = [["", "s before", "s after", "times as fast"]]
    for name, pair in pairs.items():
        taken: list[list[float]] = [[], []]
        for number in range(rounds + 1):
            for place, run in enumerate(pair):
                started = time.process_time()
                run()
                if number:  # the first round allocates the memory
                    taken[place].append(time.process_time() - started)
        ratio = statistics.median(before / after for before, after in zip(*taken, strict=True))
        rows.append([name, *(f"{statistics.median(times):.2f}" for times in taken), f"{ratio:.2f}"])
        print(" | ".join(rows[-1]), flush=True)
    return markdown(rows)


def unfused(folder: Path) -> Teacher:
    """The teacher with the attention that transformers computes step by step."""
    from transformers.models.wavlm.modeling_wavlm import WavLMAttention

    teacher = load_transformers_teacher(folder)
    for module in teacher.encoder.modules():
        if isinstance(module, WavLMAttention):
            module.__class__ = WavLMAttention
        elif hasattr(module, "config"):
            vars(module)["config"]._attn_implementation = "eager"
    return teacher


def attention(folder: Path, samples: int) -> Pair:
    wavs, lengths = noise(BATCH, samples), torch.full((BATCH,), samples)
    before, after = unfused(folder), load_transformers_teacher(folder)
    return tuple(lambda one=one: one(wavs, lengths, LAYERS) for one in (before, after))  # type: ignore[return-value]


def step(config: ModelConfig, folder: Path, samples: int) -> Callable[[], None]:
    """An optimiser step of a run, without a warm start."""
    task = our_task(config, load_transformers_teacher(folder))
    return optimiser_step(task, our_loss(task, noise(BATCH, samples), config))


def run(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=5.0, help="length of a crop")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("result/teacher_share.md"), help="Markdown")
    args = parser.parse_args(argv)
    samples = round(args.seconds * SAMPLE_RATE)
    if args.rounds < 1 or args.threads < 1 or samples < SAMPLE_RATE // 10:
        raise UserError("--rounds, --threads, --seconds: expected at least 1 round, 1 thread and 0.1 s")
    check_writable(args.out, "--out", folder=False)
    compat.apply()
    torch.manual_seed(0)
    torch.set_num_threads(args.threads)
    with tempfile.TemporaryDirectory() as scratch:
        kinds = {"WavLM Base": "wavlm", "HuBERT Base": "hubert"}
        folders = {k: write_random_teacher(Path(scratch, k), model_type=k, **BASE) for k in kinds.values()}
        text = compared(
            {f"{name}, attention": attention(folders[k], samples) for name, k in kinds.items()}, args.rounds
        )
        steps = {}
        for name, kind in STUDENTS.items():
            before, after = (step(paper_config(form), folders["hubert"], samples) for form in (kind, SHARED[kind]))
            steps[f"{name}, step"] = (before, after)
        text += "\n" + compared(steps, args.rounds)
    crops = f"{BATCH} crops of {args.seconds:g} s"
    about = f"torch {torch.__version__}, {args.threads} thread(s), {crops}, {args.rounds} rounds"
    write_text(args.out, f"{about}; CPU seconds.\n\n{text}")
    print(f"written: {args.out}")
    return 0


if __name__ == "__main__":
    sys.exit(guarded(run, None))

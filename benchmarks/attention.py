"""Time and memory of two-dimensional attention: step by step, and as one sequence of N T frames under a dense mask.

    python benchmarks/attention.py --out result/attention

The module is 768 wide with 12 heads; one utterance passes forward and backward. `ours` computes one step after another
over the keys and values of earlier steps (models/attention.py). `dense` is the definition: all N T frames at once, with
scores and mask of (N T) x (N T). `fused` passes the same mask to torch's fused kernel. `previous` is attention within
each step alone, as with `history: previous`. The variants alternate in one process, and medians are compared. Peak
memory is measured in a process for each variant, without the module and the input. The last table compares whole
students of the paper's size, in use and in a training step: `history: all` over `history: previous`.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import json
import math
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from tqdm import tqdm

from s3prl_gendistiller.cli.launch import guarded
from s3prl_gendistiller.host.memory import available_gib, peak_resident_gib
from s3prl_gendistiller.host.students import build_student
from s3prl_gendistiller.models.attention import KeyValues, SelfAttention
from s3prl_gendistiller.outputs import write_text
from s3prl_gendistiller.schema import merge, read_layered_yaml
from s3prl_gendistiller.shipped import shipped_folder
from s3prl_gendistiller.superb.pictures import chart
from s3prl_gendistiller.superb.suite.table import markdown

WIDTH, HEADS = 768, 12
GIB = 2**30


def ours(module: SelfAttention, x: Tensor) -> Tensor:
    """(1, N, T, D) step by step, as in generation."""
    found: list[Tensor] = []
    earlier: list[KeyValues] = []
    for step in x.unbind(1):
        y, own = module(step, None, tuple(earlier))
        earlier.append(own)
        found.append(y)
    return torch.stack(found, dim=1)


def previous(module: SelfAttention, x: Tensor) -> Tensor:
    return torch.stack([module(step, None)[0] for step in x.unbind(1)], dim=1)


def dense(module: SelfAttention, x: Tensor) -> Tensor:
    return _joined(module, x, _by_definition)


def fused(module: SelfAttention, x: Tensor) -> Tensor:
    return _joined(module, x, lambda q, k, v, mask: scaled_dot_product_attention(q, k, v, attn_mask=mask))


VARIANTS: dict[str, Callable[[SelfAttention, Tensor], Tensor]] = {
    "previous": previous,
    "ours": ours,
    "fused": fused,
    "dense": dense,
}


def _joined(module: SelfAttention, x: Tensor, attend: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]) -> Tensor:
    steps, frames = x.shape[1:3]
    step_of = torch.arange(steps).repeat_interleave(frames)
    mask = step_of[:, None] >= step_of[None, :]  # (N T, N T)
    flat = x.flatten(1, 2)
    q, k, v = (
        projection(flat).unflatten(-1, (HEADS, -1)).transpose(1, 2)
        for projection in (module.q_proj, module.k_proj, module.v_proj)
    )
    y = attend(q, k, v, mask)
    return module.out_proj(y.transpose(1, 2).flatten(2)).unflatten(1, (steps, frames))


def _by_definition(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
    # without needless copies of the scores: the query is scaled, the mask is written in place
    scores = (q / math.sqrt(q.shape[-1])) @ k.transpose(2, 3)
    return torch.softmax(scores.masked_fill_(~mask, -math.inf), dim=-1) @ v


def memory_that_dense_needs(steps: int, frames: int) -> float:
    """Memory in GiB for scores, softmax and their gradients: measured as 5.2 times the scores."""
    return 5.2 * HEADS * (steps * frames) ** 2 * 4 / GIB


def setting(steps: int, frames: int) -> tuple[SelfAttention, Tensor]:
    torch.manual_seed(0)
    module = SelfAttention(WIDTH, HEADS, dropout=0.0)
    return module, torch.randn(1, steps, frames, WIDTH, requires_grad=True)


def turn(variant: str, module: SelfAttention, x: Tensor) -> float:
    """Seconds of a forward and backward pass."""
    started = time.perf_counter()
    VARIANTS[variant](module, x).sum().backward()
    seconds = time.perf_counter() - started
    module.zero_grad(set_to_none=True)
    x.grad = None
    return seconds


def peak(variant: str, steps: int, frames: int) -> float:
    """Additional memory in GiB of a forward and backward pass in this process."""
    module, x = setting(steps, frames)
    gc.collect()
    before = peak_resident_gib()
    turn(variant, module, x)
    return peak_resident_gib() - before


def peak_of_its_own(variant: str, steps: int, frames: int) -> float:
    command = [sys.executable, __file__, "--peak", variant, "--steps", str(steps), "--frames", str(frames)]
    return float(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.split()[-1])


def measure(steps: int, frames: int, rounds: int) -> dict[str, Any]:
    """One row of the table: time and memory of every variant that fits."""
    fits = memory_that_dense_needs(steps, frames) < available_gib() * 0.95
    variants = [name for name in VARIANTS if name != "dense" or fits]
    peaks = {name: peak_of_its_own(name, steps, frames) for name in variants}
    module, x = setting(steps, frames)
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    for variant in variants:
        turn(variant, module, x)  # the first call allocates the memory
    for _ in tqdm(range(rounds), desc=f"N {steps}, T {frames}", leave=False):
        for variant in variants:
            seconds[variant].append(turn(variant, module, x))
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    return {"steps": steps, "frames": frames, "rounds": rounds, "seconds": medians, "peak_gib": peaks}


def measurements(args: argparse.Namespace) -> list[dict[str, Any]]:
    """One row for each number of steps and frames; rows are saved at once and not measured again."""
    kept = args.out / "attention.json"
    args.out.mkdir(parents=True, exist_ok=True)
    known = json.loads(kept.read_text(encoding="utf-8")) if kept.is_file() else []
    rows = []
    for steps, frames in itertools.product(args.steps, args.frames):
        wanted = {"steps": steps, "frames": frames, "rounds": args.rounds}
        row = next((row for row in known if wanted.items() <= row.items()), None)
        rows.append(row or measure(steps, frames, args.rounds))
        write_text(kept, json.dumps(rows + [row for row in known if row not in rows], indent=2))
        gc.collect()
    return rows


def whole_students(steps: int, frames: int, rounds: int) -> dict[str, float]:
    """Ratio of median seconds, `history: all` over `history: previous`, in use and in a training step."""
    recipe = read_layered_yaml(shipped_folder("pretrain_configs") / "gendistiller" / "config_model.yaml")
    recipe = merge(recipe, {"distill": {"target_layers": list(range(1, steps + 1))}})
    students = {
        history: build_student(merge(recipe, {"student": {"history": history}})) for history in ("previous", "all")
    }
    wavs = torch.randn(1, 320 * frames + 80, generator=torch.Generator().manual_seed(0)) / 10
    lengths = torch.tensor([wavs.shape[1]])
    uses: dict[str, Callable[[str], object]] = {
        "in use": lambda history: students[history].generate(wavs),
        "training step": lambda history: students[history].train()(wavs, lengths).predictions.sum().backward(),
    }
    seconds: dict[tuple[str, str], list[float]] = {}
    for _ in tqdm(range(rounds + 1), desc=f"students, N {steps}, T {frames}", leave=False):
        for use, history in itertools.product(uses, students):
            started = time.perf_counter()
            uses[use](history)
            seconds.setdefault((use, history), []).append(time.perf_counter() - started)
            students[history].zero_grad(set_to_none=True)
    # the first round allocates the memory
    medians = {key: statistics.median(times[1:]) for key, times in seconds.items()}
    return {use: medians[use, "all"] / medians[use, "previous"] for use in uses}


def table(rows: list[dict]) -> str:
    lines = [
        [
            *("N", "T", "ours, s", "dense / ours", "fused / ours", "ours / previous"),
            *("ours, MiB", "dense, MiB", "fused, MiB"),
        ]
    ]
    for row in rows:
        seconds, memory = row["seconds"], row["peak_gib"]
        ratios = [
            f"{seconds[name] / seconds['ours']:.1f}" if name in seconds else "too large" for name in ("dense", "fused")
        ]
        sizes = [f"{memory[name] * 1024:.0f}" if name in memory else "" for name in ("ours", "dense", "fused")]
        cells = [str(row["steps"]), str(row["frames"]), f"{seconds['ours']:.3f}", *ratios]
        lines.append([*cells, f"{seconds['ours'] / seconds['previous']:.2f}", *sizes])
    return markdown(lines)


def draw(rows: list[dict], out: Path) -> None:
    """Draws time and memory against the length N T, one line for each variant."""
    with chart(out, 5, 4, panels=2) as axes:
        for axis, key, label in zip(axes, ("seconds", "peak_gib"), ("seconds", "GiB above the module"), strict=True):
            for name in VARIANTS:
                points = sorted((row["steps"] * row["frames"], row[key][name]) for row in rows if name in row[key])
                axis.plot(*zip(*points, strict=True), "o-", label=name, markersize=4)
            axis.set(xscale="log", yscale="log", xlabel="frames of all steps, N T", ylabel=label)
            axis.legend()


def run(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, nargs="+", default=[3, 6, 12])
    parser.add_argument("--frames", type=int, nargs="+", default=[250, 750, 1500], help="20 ms each")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path("result/attention"))
    parser.add_argument("--peak", choices=list(VARIANTS), help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.peak:
        print(peak(args.peak, args.steps[0], args.frames[0]))
        return 0
    rows = measurements(args)
    (args.out / "attention.md").write_text(table(rows), encoding="utf-8")
    draw(rows, args.out / "attention.png")
    whole = [["N", "T", "in use", "training step"]]
    for steps, frames in itertools.product(args.steps, args.frames):
        ratios = whole_students(steps, frames, args.rounds)
        whole.append([str(steps), str(frames), *(f"{ratio:.2f}" for ratio in ratios.values())])
    (args.out / "students.md").write_text(markdown(whole), encoding="utf-8")
    print(f"{table(rows)}\nwhole students, all / previous\n{markdown(whole)}")
    return 0


if __name__ == "__main__":
    sys.exit(guarded(run, None))

"""Memory of a student with HuBERT's convolutions over batches of ever new lengths, and CPU time of a step.

    python benchmarks/memory.py                                              # distilling: 8 crops of 1 to 3 s a step
    python benchmarks/memory.py --evaluate                                   # one utterance of 2 to 10 s at a time
    ONEDNN_PRIMITIVE_CACHE_CAPACITY=1024 python benchmarks/memory.py         # oneDNN's default
    python benchmarks/memory.py --same                                       # every batch of the longest length

A student of 6.97 M parameters, 512 wide, 256 channels in its CNN; one CPU core unless OMP_NUM_THREADS says more.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import time
from collections.abc import Sequence

import torch

from s3prl_gendistiller.cli.launch import guarded
from s3prl_gendistiller.config_gendistiller import GenDistillerConfig
from s3prl_gendistiller.distill.audio import SAMPLE_RATE
from s3prl_gendistiller.host import memory
from s3prl_gendistiller.models.front_end import frame_mask
from s3prl_gendistiller.models.gendistiller import GenDistiller

CONV = ((256, 10, 5), *((256, 3, 2),) * 4, *((256, 2, 2),) * 2)
STUDENT = GenDistillerConfig(
    extractor_conv_feature_layers=CONV, encoder_embed_dim=512, encoder_ffn_embed_dim=2048, encoder_attention_heads=8
)
SETTLED = 20  # step with whose memory later steps are compared


def run(argv: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--scale", type=float, default=1.0, help="factor on the lengths; .5 takes half the time")
    parser.add_argument("--evaluate", action="store_true", help="generate, one utterance at a time")
    parser.add_argument("--same", action="store_true", help="one length, to measure the gain of kept primitives")
    args = parser.parse_args(argv)

    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    torch.manual_seed(0)
    draw = random.Random(0)
    student = GenDistiller(STUDENT, 3)
    batch, shortest, longest = (1, 2, 10) if args.evaluate else (8, 1, 3)
    low, high = (int(seconds * args.scale * SAMPLE_RATE) for seconds in (shortest, longest))
    held: dict[int, float] = {}
    costs: list[float] = []
    for step in range(1, args.steps + 1):
        lengths = torch.tensor([draw.randint(low, high) for _ in range(batch)])
        lengths[0] = high if args.same else lengths[0]
        wavs = torch.randn(batch, int(lengths.max()))
        wavs *= frame_mask(lengths, wavs.shape[1])
        begin = time.process_time()
        if args.evaluate:
            student.generate(wavs, lengths)
        else:
            torch.stack([state.abs().mean() for state in student(wavs, lengths).hidden_states]).sum().backward()
            student.zero_grad()
        costs.append(time.process_time() - begin)
        if step in (2, SETTLED, args.steps):
            held[step] = memory.resident_gib()
            print(f"step {step}: {held[step]:.2f} GiB", flush=True)
    median = sorted(costs)[len(costs) // 2]
    ratio = held[args.steps] / held.get(SETTLED, held[args.steps])
    kept = os.environ["ONEDNN_PRIMITIVE_CACHE_CAPACITY"]
    print(f"{kept} primitives: {ratio:.2f} times step {SETTLED}, peak {memory.peak_resident_gib():.2f} GiB,")
    print(f"{median:.3f} s of CPU a step (median), {sum(costs):.1f} s in all")


if __name__ == "__main__":
    sys.exit(guarded(run, None))

"""`gendistiller demo`: corpus, distillation and evaluation in miniature, through the real launchers."""

from __future__ import annotations

import argparse
import itertools
import time
from pathlib import Path
from typing import Any

from s3prl_gendistiller.cli import arguments
from s3prl_gendistiller.cli.curves import draw
from s3prl_gendistiller.cli.experiment import Contender, Experiment, Recipe
from s3prl_gendistiller.corpora.librispeech import write_librispeech
from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.host import compat
from s3prl_gendistiller.outputs import check_writable
from s3prl_gendistiller.shipped import shipped_folder

_DESCRIPTION = """\
Make a small LibriSpeech-shaped corpus, distil GenDistiller and DistilHuBERT with run_pretrain.py from the small HuBERT
that comes with this package, evaluate both with run_downstream.py -d asr, and print a table. The training is too short
to tell which student is better; the demo shows that everything runs."""

CONTENDERS = {task: Contender(task) for task in ("gendistiller", "distilhubert")}


def add_parser(subparsers: Any) -> None:
    about = "corpus, distillation and ASR in miniature, in a few minutes on two CPU cores"
    example = "example: gendistiller demo --out result/demo"
    way_on = "the same command begins another run and keeps the corpus"
    add = arguments.add_command(subparsers, "demo", run, about, _DESCRIPTION, example, way_on).add_argument
    add("--out", metavar="DIR", type=arguments.path, default=Path("result/demo"))
    add("--steps", metavar="N", type=arguments.whole, default=100, help="distillation steps (default %(default)s)")
    add("--asr-steps", metavar="N", type=arguments.whole, default=400, help="ASR steps (default %(default)s)")


def run(args: argparse.Namespace) -> int:
    for flag, steps in (("--steps", args.steps), ("--asr-steps", args.asr_steps)):
        if steps < 51:  # the ASR recipe logs every 50 steps
            raise UserError(f"{flag}: found {steps}, expected at least 51")
    out: Path = args.out.absolute()
    check_writable(args.out, "--out", folder=True)
    data, teacher = out / "data", shipped_folder("teachers") / "hubert_guided"
    started = time.monotonic()
    compat.apply()  # transformers imports torchaudio, which a CPU-only torch cannot load as it is
    _say("1/5", f"corpus: {data}/LibriSpeech")
    write_librispeech(data)
    _say("2/5", f"teacher: {teacher} (HuBERT of 6 layers, 256 wide)")
    datarc = {"sets": ["train-clean-100"], "train_batch_size": 8, "num_workers": 0, "crop_samples": 48_000}
    recipe = Recipe(data, teacher, (2, 4, 6), datarc, args.steps, 1e-3, args.asr_steps)
    fresh = next(out / f"run{number}" for number in itertools.count(1) if not (out / f"run{number}").exists())
    experiment = Experiment(recipe, CONTENDERS, fresh)  # beside earlier runs, which are never overwritten
    _say("3/5", "distillation")
    for name in CONTENDERS:
        experiment.distil(name)
    _say("4/5", "ASR on top of each student, then its error on the test set")
    errors = {name: experiment.recognise(name) for name in CONTENDERS}
    _say("5/5", "results")
    picture = draw({name: experiment.folder / name for name in CONTENDERS}, out / "curves.png")
    table = experiment.table(errors)
    (out / "table.md").write_text(table, encoding="utf-8")
    print(f"\n{table}\npicture: {picture}\nruns: {experiment.folder}\n{time.monotonic() - started:.0f} s in all")
    return 0


def _say(count: str, text: str) -> None:
    print(f"[{count}] {text}", flush=True)

"""`gendistiller demo`: the whole job in miniature, through the same launchers as the real one."""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import yaml

from s3prl_gendistiller.cli.curves import draw
from s3prl_gendistiller.distill.metrics import read_metrics
from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.host import compat
from s3prl_gendistiller.host.checkpoint import newest_checkpoint
from s3prl_gendistiller.host.students import load_student
from s3prl_gendistiller.models.student import Student
from s3prl_gendistiller.shipped import shipped_folder

STUDENTS = {"gendistiller": "gendistiller_local", "distilhubert": "distiller_local"}
TEACHER = {"layers": 6, "width": 96, "heads": 4, "ffn": 384, "conv_dim": 64}
TARGET_LAYERS = [2, 4, 6]
SPEED_SECONDS = 8


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "demo",
        help="corpus, teacher, distillation and ASR in miniature, in a few minutes on two CPU cores",
        description="Make a small LibriSpeech-shaped corpus and a small HuBERT-shaped teacher with random weights, "
        "distil GenDistiller and DistilHuBERT with run_pretrain.py, evaluate both with run_downstream.py -d asr, and "
        "print a table. The figures show that everything runs; a random teacher teaches nothing.",
        epilog="example: gendistiller demo --out result/demo",
    )
    parser.add_argument("--out", metavar="DIR", type=Path, default=Path("result/demo"))
    parser.add_argument("--steps", metavar="N", type=int, default=240, help="distillation steps (default %(default)s)")
    parser.add_argument("--asr-steps", metavar="N", type=int, default=240, help="ASR steps (default %(default)s)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    for flag, steps in (("--steps", args.steps), ("--asr-steps", args.asr_steps)):
        if steps < 20:
            raise UserError(f"{flag}: found {steps}, expected at least 20")
    out: Path = args.out.absolute()
    data, teacher, runs = out / "data", out / "teacher", _next_runs_folder(out)
    started = time.monotonic()
    _say("1/5", f"corpus: {data}/LibriSpeech")
    _make_corpus(data)
    _say("2/5", f"teacher: {teacher} (HuBERT-shaped, random weights: it shows the path, it teaches nothing)")
    _make_teacher(teacher)
    environment = {**os.environ, "SUPERB_DATA": str(data)}
    _say("3/5", "distillation")
    for task in STUDENTS:
        _write_configs(runs / task, teacher, task, args.steps)
        _launch("pretrain", _pretrain_arguments(runs, task), environment, out)
    _say("4/5", "ASR on top of each student, then its error on the test set")
    errors = {task: _asr(runs, task, args.asr_steps, environment, out) for task in STUDENTS}
    _say("5/5", "results")
    picture = draw({task: runs / task for task in STUDENTS}, out / "curves.png")
    table = _table(runs, errors)
    (out / "table.md").write_text(table, encoding="utf-8")
    print(f"\n{table}\npicture: {picture}\nruns: {runs}\n{time.monotonic() - started:.0f} s in all")
    return 0


def _next_runs_folder(out: Path) -> Path:
    """Corpus and teacher are kept from an earlier demo; trained runs are never overwritten."""
    count = 1
    while (out / f"run{count}").exists():
        count += 1
    return out / f"run{count}"


def _make_corpus(data: Path) -> None:
    from s3prl_gendistiller.corpora.librispeech import write_librispeech

    write_librispeech(data)


def _make_teacher(folder: Path) -> None:
    from s3prl_gendistiller.distill.random_teacher import write_random_teacher

    if not folder.exists():
        compat.apply()  # transformers imports torchaudio
        write_random_teacher(
            folder,
            width=TEACHER["width"],
            layers=TEACHER["layers"],
            heads=TEACHER["heads"],
            ffn=TEACHER["ffn"],
            conv_dim=TEACHER["conv_dim"],
        )


def _write_configs(folder: Path, teacher: Path, task: str, steps: int) -> None:
    """Small versions of the shipped recipes; only what differs is stated."""
    shipped = shipped_folder("pretrain_configs") / task
    width, channels = TEACHER["width"], TEACHER["conv_dim"]
    conv_layers = [[channels, 10, 5], *[[channels, 3, 2]] * 4, *[[channels, 2, 2]] * 2]
    model = {
        "base": str(shipped / "config_model.yaml"),
        "teacher": {"upstream": None, "folder": str(teacher)},
        "student": {
            "extractor_conv_feature_layers": conv_layers,
            "encoder_embed_dim": width,
            "encoder_ffn_embed_dim": TEACHER["ffn"],
            "encoder_attention_heads": TEACHER["heads"],
            "feature_grad_mult": 1.0,
        },
        "distill": {"target_layers": TARGET_LAYERS},
    }
    runner = {
        "base": str(shipped / "config_runner.yaml"),
        "runner": {"total_steps": steps, "log_step": 10, "save_step": steps // 2, "max_keep": 2, "fp16": False},
        "optimizer": {"lr": 1e-3},
        "pretrain_expert": {
            "datarc": {
                "sets": ["train-clean-100"],
                "train_batch_size": 8,
                "num_workers": 0,
                "crop_samples": 48_000,
                "valid_step": max(steps // 8, 1),
            }
        },
    }
    folder.parent.mkdir(parents=True, exist_ok=True)
    for name, content in (("model", model), ("runner", runner)):
        (folder.parent / f"{task}_{name}.yaml").write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")


def _pretrain_arguments(runs: Path, task: str) -> list[str]:
    files = ["-g", str(runs / f"{task}_model.yaml"), "-c", str(runs / f"{task}_runner.yaml")]
    return ["-u", task, "-p", str(runs / task), *files]


def _asr(runs: Path, task: str, steps: int, environment: dict[str, str], out: Path) -> tuple[float, float]:
    """Trains and evaluates s3prl's ASR on a student; returns its letter and word error on test-clean, in percent."""
    folder = runs / f"{task}_asr"
    checkpoint = newest_checkpoint(runs / task)
    length = f"config.runner.total_steps={steps},,config.runner.eval_step={steps},,config.runner.save_step={steps}"
    train = ["-u", STUDENTS[task], "-k", str(checkpoint), "-d", "asr", "-p", str(folder), "-o", length]
    _launch("downstream", ["-m", "train", "-c", "downstream_runs/asr/small.yaml", *train], environment, out)
    log = _launch("downstream", ["-m", "evaluate", "-t", "test-clean", "-e", str(folder)], environment, out)
    rates = [re.search(rf"test-clean {kind}: ([\d.]+)", log) for kind in ("uer", "wer")]
    if None in rates:
        raise UserError(f"{folder}: the evaluation printed no error rate; see {out / 'demo.log'}")
    uer, wer = (float(rate.group(1)) for rate in rates if rate)
    return uer, wer


def _launch(launcher: str, arguments: Sequence[str], environment: dict[str, str], out: Path) -> str:
    """One launcher in a process of its own, as a person would type it; its output goes into demo.log."""
    print(f"  $ python run_{launcher}.py {' '.join(arguments)}", flush=True)
    command = [sys.executable, "-m", f"s3prl_gendistiller.cli.{launcher}", *arguments]
    started = time.monotonic()
    answer = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    log = out / "demo.log"
    with log.open("a", encoding="utf-8") as file:
        file.write(f"$ {' '.join(command)}\n{answer.stdout}\n{answer.stderr}\n")
    if answer.returncode:
        last = "\n".join(answer.stderr.strip().splitlines()[-5:])
        raise UserError(
            f"run_{launcher}.py ended with status {answer.returncode}; its last lines (whole log: {log}):\n{last}"
        )
    print(f"    {time.monotonic() - started:.0f} s", flush=True)
    return answer.stdout


def _table(runs: Path, errors: dict[str, tuple[float, float]]) -> str:
    students = {task: load_student(newest_checkpoint(runs / task) or runs) for task in STUDENTS}
    times = _cpu_times(students)
    header = ["student", "parameters", "held-out L1, layers 2 4 6", "held-out cosine", "steps/s"]
    rows = [[*header, "CPU s per s of audio", "ASR letter error %", "ASR word error %"]]
    for task, student in students.items():
        valid = list(read_metrics(runs / task, "valid").values())[-1]
        train = list(read_metrics(runs / task, "train").values())[1:]
        seconds = sorted(entry["seconds_per_batch"] for entry in train)[len(train) // 2]
        rows.append(
            [
                task,
                f"{sum(parameter.numel() for parameter in student.parameters()):,}",
                " ".join(f"{valid[f'l1_layer{layer}']:.3f}" for layer in TARGET_LAYERS),
                " ".join(f"{valid[f'cosine_layer{layer}']:.3f}" for layer in TARGET_LAYERS),
                f"{1 / seconds:.2f}",
                f"{times[task]:.4f}",
                *(f"{error:.1f}" for error in errors[task]),
            ]
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows
    ]
    return "\n".join([lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]]) + "\n"


def _cpu_times(students: dict[str, Student]) -> dict[str, float]:
    """Median CPU seconds per second of audio, the students taking turns so that both meet the same machine."""
    wavs = torch.randn(1, SPEED_SECONDS * 16_000, generator=torch.Generator().manual_seed(0))
    taken: dict[str, list[float]] = {task: [] for task in students}
    for _ in range(7):
        for task, student in students.items():
            started = time.process_time()
            student.generate(wavs)
            taken[task].append(time.process_time() - started)
    return {task: sorted(values)[len(values) // 2] / SPEED_SECONDS for task, values in taken.items()}


def _say(count: str, text: str) -> None:
    print(f"[{count}] {text}", flush=True)

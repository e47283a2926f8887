"""A matched experiment: several students under one recipe, each distilled and evaluated through the two launchers.

`gendistiller demo` and `benchmarks/real_speech.py` differ only in speech, teacher and length.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from torch import Tensor

from s3prl_gendistiller.distill.metrics import read_metrics
from s3prl_gendistiller.documents import read_json
from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.host.checkpoint import newest_checkpoint, stored_step
from s3prl_gendistiller.host.students import load_student
from s3prl_gendistiller.models.student import Student
from s3prl_gendistiller.schema import merge
from s3prl_gendistiller.shipped import shipped_folder
from s3prl_gendistiller.student_kinds import STUDENT_KINDS
from s3prl_gendistiller.superb.cost.multiply_adds import cpu_times
from s3prl_gendistiller.superb.suite.table import markdown


@dataclass(frozen=True)
class Contender:
    """A student of the experiment."""

    task: str  # pretraining task
    difference: dict[str, Any] = field(default_factory=dict)  # keys of the model YAML that differ from the recipe


@dataclass(frozen=True)
class Recipe:
    """Settings that all contenders share."""

    superb_data: Path  # the folder that SUPERB_DATA names, with LibriSpeech/ for ASR
    teacher: Path  # a transformers folder
    target_layers: tuple[int, ...]
    datarc: dict[str, Any]  # keys of `pretrain_expert.datarc` that differ from the shipped recipe
    steps: int  # optimiser steps of the distillation
    lr: float  # learning rate of the distillation
    asr_steps: int  # optimiser steps of the recogniser that is trained on the student
    seed: int = 1337


class Experiment:
    """Runs contenders in one folder; a log beside the runs holds all output of the launchers.

    Args:
        contenders: the students, by the name of their run.
        folder: folder of the runs; an unfinished distillation in it is resumed, a finished one is kept.
        threads: number of threads of each launcher; None for torch's default.
    """

    def __init__(self, recipe: Recipe, contenders: dict[str, Contender], folder: Path, threads: int | None = None):
        self.recipe, self.contenders, self.folder, self.threads = recipe, contenders, folder, threads
        self.log = folder / "launchers.log"
        folder.mkdir(parents=True, exist_ok=True)

    def distil(self, name: str) -> None:
        """Trains the student of a run with run_pretrain.py."""
        task, run = self.contenders[name].task, self.folder / name
        newest = newest_checkpoint(run)
        if newest is not None and stored_step(newest) >= self.recipe.steps:
            return
        files = ["-g", str(self._write(name, "model")), "-c", str(self._write(name, "runner"))]
        self._launch("pretrain", ["-u", task, "-p", str(run), "-a", "--seed", str(self.recipe.seed), *files])

    def recognise(self, name: str) -> tuple[float, float]:
        """Trains s3prl's ASR on a distilled student; returns letter and word error on test-clean, in percent."""
        steps, folder = self.recipe.asr_steps, self.folder / f"{name}_asr"
        contender = self.contenders[name]
        upstream = STUDENT_KINDS[contender.task].upstream_for(contender.difference.get("student", {}))
        student = newest_checkpoint(self.folder / name)
        length = ",,".join(f"config.runner.{key}={steps}" for key in ("total_steps", "eval_step", "save_step"))
        source = ["-u", upstream, "-k", str(student), "-c", "downstream_runs/asr/small.yaml"]
        self._launch("downstream", ["-m", "train", "-d", "asr", "-p", str(folder), *source, "-o", length])
        output = self._launch("downstream", ["-m", "evaluate", "-t", "test-clean", "-e", str(folder)])
        rates = [re.search(rf"test-clean {kind}: ([\d.]+)", output) for kind in ("uer", "wer")]
        if rates[0] is None or rates[1] is None:
            raise UserError(f"{folder}: the evaluation printed no error rate; see {self.log}")
        return float(rates[0].group(1)), float(rates[1].group(1))

    def table(self, errors: dict[str, tuple[float, float]]) -> str:
        """The Markdown table of all measurements."""
        layers = self.recipe.target_layers
        students = {name: load_student(newest_checkpoint(self.folder / name) or "") for name in self.contenders}
        times = cpu_times({name: _generates(student) for name, student in students.items()})
        losses = [f"held-out L1, layers {' '.join(map(str, layers))}", "held-out cosine"]
        speed = ["steps/s", "CPU s per s of audio"]
        rows = [["student", "parameters", *losses, *speed, "ASR letter error %", "ASR word error %"]]
        for name, student in students.items():
            valid = list(read_metrics(self.folder / name, "valid").values())[-1]
            train = list(read_metrics(self.folder / name, "train").values())[1:]
            seconds = sorted(entry["seconds_per_batch"] for entry in train)[len(train) // 2]
            losses = [" ".join(f"{valid[f'{key}_layer{n}']:.3f}" for n in layers) for key in ("l1", "cosine")]
            rates = [f"{error:.1f}" for error in errors[name]] if name in errors else ["", ""]
            parameters = f"{sum(parameter.numel() for parameter in student.parameters()):,}"
            rows.append([name, parameters, *losses, f"{1 / seconds:.2f}", f"{times[name]:.4f}", *rates])
        return markdown(rows)

    def _write(self, name: str, part: str) -> Path:
        """Writes a configuration that holds only the differences to the shipped recipe of the task."""
        student, recipe = self.contenders[name], self.recipe
        base = shipped_folder("pretrain_configs") / student.task / f"config_{part}.yaml"
        content: dict[str, Any] = {"base": str(base)}
        if part == "model":
            content.update(_shaped_like(recipe.teacher))
            content["distill"] = {"target_layers": list(recipe.target_layers)}
            content = merge(content, student.difference)
        else:
            every, half = max(recipe.steps // 24, 1), max(recipe.steps // 2, 2)
            loop = {"total_steps": recipe.steps, "log_step": every, "save_step": half, "max_keep": 2, "fp16": False}
            datarc = {"valid_step": max(recipe.steps // 8, 1), **recipe.datarc}
            content |= {"runner": loop, "optimizer": {"lr": recipe.lr}, "pretrain_expert": {"datarc": datarc}}
        path = self.folder / f"{name}_{part}.yaml"
        path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
        return path

    def _launch(self, launcher: str, arguments: Sequence[str]) -> str:
        """Runs one launcher in a process of its own; returns its output."""
        print(f"  $ python run_{launcher}.py {' '.join(arguments)}", flush=True)
        command = [sys.executable, "-m", f"s3prl_gendistiller.cli.{launcher}", *arguments]
        # actively waiting threads make a step seven times slower when another program needs a core
        environment = {"OMP_WAIT_POLICY": "PASSIVE", **os.environ, "SUPERB_DATA": str(self.recipe.superb_data)}
        if self.threads is not None:
            environment["OMP_NUM_THREADS"] = str(self.threads)
        started = time.monotonic()
        answer = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        with self.log.open("a", encoding="utf-8") as file:
            file.write(f"$ {' '.join(command)}\n{answer.stdout}\n{answer.stderr}\n")
        if answer.returncode:
            last = "\n".join(answer.stderr.strip().splitlines()[-5:])
            raise UserError(f"run_{launcher}.py ended with status {answer.returncode} (log: {self.log}):\n{last}")
        print(f"    {time.monotonic() - started:.0f} s", flush=True)
        return answer.stdout


def _generates(student: Student) -> Callable[[Tensor], object]:
    return lambda wav: student.generate(wav.unsqueeze(0))


def _shaped_like(teacher: Path) -> dict[str, Any]:
    """The sections of a model YAML that give a student the sizes of a transformers teacher."""
    shape = read_json(teacher / "config.json")
    convolutions = zip(shape["conv_dim"], shape["conv_kernel"], shape["conv_stride"], strict=True)
    return {
        "teacher": {"upstream": None, "folder": str(teacher)},
        "student": {
            "extractor_conv_feature_layers": [list(layer) for layer in convolutions],
            "encoder_embed_dim": shape["hidden_size"],
            "encoder_ffn_embed_dim": shape["intermediate_size"],
            "encoder_attention_heads": shape["num_attention_heads"],
        },
    }

"""The recipe that all measurements in miniature share: the embedded teacher, short distillations, the small tasks.

A form is a student as an ablation of pretrain_configs/ states it, or as several do, joined by +: `history_all`,
`history_all+teacher_forced`. What it does not state is the matched recipe's.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from hubert.random_teacher import write_random_like
from s3prl_gendistiller.cli import main
from s3prl_gendistiller.cli.experiment import Contender, Experiment, Recipe
from s3prl_gendistiller.config import TeacherConfig, read_model_config
from s3prl_gendistiller.distill.data import HeldOutLoader
from s3prl_gendistiller.distill.objectives.layerwise import Layerwise
from s3prl_gendistiller.distill.task import DistillTask, score
from s3prl_gendistiller.documents import read_json
from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.host.checkpoint import newest_checkpoint, read_checkpoint, student_kind
from s3prl_gendistiller.host.students import load_student
from s3prl_gendistiller.host.teachers import load_teacher
from s3prl_gendistiller.shipped import shipped_folder

TARGETS = (2, 4, 6)
TRAINED_ON, HELD_OUT = "train-clean-100", "dev-clean"
BATCH, CROP_SAMPLES = 8, 48_000


@dataclass(frozen=True)
class Miniature:
    """Distillations and suites below one folder.

    Attributes:
        speech: LibriSpeech folder to distil on; held out is its `HELD_OUT`.
        data: what SUPERB_DATA is to name.
        out: the folder of everything.
        jobs: distillations at a time, which share the cores: small steps leave most of a second core idle.
        suite_options: of `gendistiller superb`, for every suite.
    """

    speech: Path
    data: Path
    out: Path
    jobs: int = 2
    suite_options: Sequence[str] = ()

    @property
    def teacher(self) -> Path:
        return shipped_folder("teachers") / "hubert_mini"

    def experiment(
        self, folder: str, contenders: Mapping[str, Contender], *, lr: float, seed: int, steps: int
    ) -> Experiment:
        """Distillations under the shared recipe, into a folder below `out`."""
        speech = str(self.speech.absolute())
        datarc: dict[str, Any] = {
            **{"libri_root": speech, "file_path": f"{speech}/len_for_bucket"},
            **{"sets": [TRAINED_ON], "valid_sets": [HELD_OUT], "valid_step": max(steps // 3, 1)},
            **{"train_batch_size": BATCH, "num_workers": 0, "crop_samples": CROP_SAMPLES},
        }
        recipe = Recipe(self.data, self.teacher, TARGETS, datarc, steps, lr, 0, seed)
        threads = max(1, (os.cpu_count() or 1) // self.jobs)
        return Experiment(recipe, dict(contenders), self.out.absolute() / folder, threads)

    def distil(self, turns: Iterable[tuple[Experiment, str]]) -> None:
        """Contenders of experiments, `jobs` at a time; what is finished is not repeated."""
        with ThreadPoolExecutor(self.jobs) as pool:
            list(pool.map(lambda turn: turn[0].distil(turn[1]), turns))

    def suite(self, students: Sequence[str], folder: str) -> dict[str, Any]:
        """`gendistiller superb` over students, as it takes them, with the references before them; its results."""
        out, random = self.out / folder, self.out.absolute() / "random_teacher"
        if not random.exists():
            write_random_like(self.teacher, random)
        students = ["fbank", f"teacher={self.teacher}", f"random={random}", *students]
        command = ["superb", "--out", str(out), *self.suite_options]
        command += [part for student in students for part in ("--student", student)]
        os.environ["SUPERB_DATA"] = str(self.data.absolute())
        print(f"$ gendistiller {' '.join(command)}", flush=True)
        if main(command):
            raise UserError(f"{out}: the suite is not complete; the same command goes on from there")
        return dict(read_json(out / "results.json"))

    def distance(self, run: Path) -> dict[str, float]:
        """How far a distilled student is from the teacher on held-out speech, whatever it was trained to match.

        Returns:
            l1_layer*, cosine_layer* and cosine_loss_layer* of its targets, and "loss", the layerwise one over them.

        Raises:
            UserError: the run has no whole checkpoint.
        """
        checkpoint = newest_checkpoint(run)
        if checkpoint is None:
            raise UserError(f"{run}: holds no whole checkpoint; expected the folder of a distillation")
        states = read_checkpoint(checkpoint)
        kind = student_kind(states, checkpoint)
        layers = read_model_config(kind, states["Upstream_Config"]).distill.target_layers
        loader = HeldOutLoader(
            [self.speech / "len_for_bucket" / f"{HELD_OUT}.csv"],
            self.speech,
            batch_size=BATCH,
            crop_samples=CROP_SAMPLES,
        )
        teacher = load_teacher(TeacherConfig(folder=str(self.teacher)))
        if kind == "gendistiller":
            teacher.ignore_padding()  # as while it was trained
        task = DistillTask(load_student(checkpoint), teacher, nn.ModuleList([Layerwise(layers)]), layers)
        return score(task, loader, "cpu")


def add_arguments(parser: argparse.ArgumentParser, out: str) -> None:
    """The flags that every script of the miniature takes."""
    parser.add_argument("--speech", type=Path, required=True, help="LibriSpeech folder to distil on")
    parser.add_argument("--data", type=Path, required=True, help="what SUPERB_DATA is to name: the ten tasks")
    parser.add_argument("--out", type=Path, default=Path(out))
    parser.add_argument("--tasks", nargs="+", default=[], help="of the suite")
    parser.add_argument("--lr-search", action="store_true", help="of the tasks")
    parser.add_argument(
        "--task-lr", nargs="+", default=[], metavar="TASK=RATE[,RATE...]", help="of tasks, as gendistiller superb --lr"
    )
    parser.add_argument("--cache-features", metavar="DIR", type=Path, help="as gendistiller superb")
    parser.add_argument("--jobs", type=int, default=2, help="distillations at a time")


def from_arguments(args: argparse.Namespace) -> Miniature:
    """The place that the flags of `add_arguments` describe."""
    options = ["--lr-search"] if args.lr_search else []
    options += ["--tasks", *args.tasks] if args.tasks else []
    options += ["--lr", *args.task_lr] if args.task_lr else []
    options += ["--cache-features", str(args.cache_features)] if args.cache_features else []
    return Miniature(args.speech, args.data, args.out, args.jobs, options)

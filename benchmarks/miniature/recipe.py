"""The recipe of all measurements in miniature: the shipped teacher, short distillations, the small tasks."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from hubert.random_teacher import write_random_like
from s3prl_gendistiller.cli import main
from s3prl_gendistiller.cli.experiment import Contender, Experiment, Recipe
from s3prl_gendistiller.config import TeacherConfig
from s3prl_gendistiller.config_runner import DataConfig
from s3prl_gendistiller.distill.crops import Batch
from s3prl_gendistiller.distill.data import HeldOutLoader
from s3prl_gendistiller.distill.task import DistillTask, score
from s3prl_gendistiller.distill.weights import values_hash
from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.host.checkpoint import newest_checkpoint, read_checkpoint, student_kind
from s3prl_gendistiller.host.objectives import NoDistanceError, distance_objective
from s3prl_gendistiller.host.students import load_student
from s3prl_gendistiller.host.target_cache import TEACHER_FLAG, TargetCache, TaughtBatches
from s3prl_gendistiller.host.teachers import load_teacher
from s3prl_gendistiller.shipped import shipped_folder
from s3prl_gendistiller.student_kinds import read_model_config
from s3prl_gendistiller.superb.suite.results import RESULTS, read_content

TARGETS = (2, 4, 6)
TRAINED_ON, HELD_OUT = "train-clean-100", "dev-clean"
BATCH, CROP_SAMPLES = 8, 48_000


@dataclass(frozen=True)
class Miniature:
    """Distillations and suites below one folder.

    Attributes:
        speech: LibriSpeech folder to distil on, with its split `HELD_OUT` for validation.
        data: value of SUPERB_DATA.
        out: folder of all results.
        jobs: number of distillations at a time, which share the cores; a small step leaves a second core mostly idle.
        suite_options: options of `gendistiller superb` for every suite.
        cache_teacher: folder that keeps the teacher's layers of each batch, so that forms of one seed share them.
    """

    speech: Path
    data: Path
    out: Path
    jobs: int = 2
    suite_options: Sequence[str] = ()
    cache_teacher: Path | None = None

    @property
    def teacher(self) -> Path:
        return shipped_folder("teachers") / "hubert_guided"

    def experiment(
        self, folder: str, contenders: Mapping[str, Contender], *, lr: float, seed: int, steps: int
    ) -> Experiment:
        """Distillations under the shared recipe, into a folder below `out`."""
        speech = str(self.speech.absolute())
        datarc: dict[str, Any] = {
            **{"libri_root": speech, "file_path": f"{speech}/len_for_bucket"},
            **{"sets": [TRAINED_ON], "valid_sets": [HELD_OUT], "valid_step": max(steps // 3, 1)},
            **{"train_batch_size": BATCH, "num_workers": 0, "crop_samples": CROP_SAMPLES},
            "cache_teacher": None if self.cache_teacher is None else str(self.cache_teacher.absolute()),
        }
        recipe = Recipe(self.data, self.teacher, TARGETS, datarc, steps, lr, 0, seed)
        threads = max(1, (os.cpu_count() or 1) // self.jobs)
        return Experiment(recipe, dict(contenders), self.out.absolute() / folder, threads)

    def distil(self, turns: Iterable[tuple[Experiment, str]]) -> None:
        """Distils contenders of experiments, `jobs` at a time; finished ones are not repeated."""
        with ThreadPoolExecutor(self.jobs) as pool:
            list(pool.map(lambda turn: turn[0].distil(turn[1]), turns))

    def suite(self, students: Sequence[str], folder: str, features: str = "weighted") -> dict[str, Any]:
        """Results of `gendistiller superb` on students, in its notation, and on the references.

        Args:
            folder: folder of the suite below `out`.
            features: as `gendistiller superb --features`.
        """
        out, random = self.out / folder, self.out.absolute() / "random_teacher"
        if not random.exists():
            write_random_like(self.teacher, random)
        students = ["fbank", f"teacher={self.teacher}", f"random={random}", *students]
        command = ["superb", "--out", str(out), "--features", features, *self.suite_options]
        command += [part for student in students for part in ("--student", student)]
        os.environ["SUPERB_DATA"] = str(self.data.absolute())
        print(f"$ gendistiller {' '.join(command)}", flush=True)
        if main(command):
            raise UserError(f"{out}: the suite is not complete; the same command continues")
        return read_content(out / RESULTS)

    def distance(self, run: Path) -> dict[str, float]:
        """Distance of a distilled student from the teacher on held-out speech, whatever objective it was trained with.

        A student of another width is compared behind the projection that its checkpoint holds.

        Returns:
            l1_layer*, cosine_layer* and cosine_loss_layer* of its targets, and their layerwise loss as "loss"; nothing,
            with the reason printed, for a student of another width without a projection.

        Raises:
            UserError: the run has no complete checkpoint.
        """
        checkpoint = newest_checkpoint(run)
        if checkpoint is None:
            raise UserError(f"{run}: holds no whole checkpoint; expected the folder of a distillation")
        states = read_checkpoint(checkpoint)
        kind, student = student_kind(states, checkpoint), load_student(checkpoint, whole=True)
        config = read_model_config(kind.name, states["Upstream_Config"])
        loader = HeldOutLoader(
            [self.speech / "len_for_bucket" / f"{HELD_OUT}.csv"],
            self.speech,
            batch_size=BATCH,
            crop_samples=CROP_SAMPLES,
        )
        teacher = load_teacher(TeacherConfig(folder=str(self.teacher)))
        if student.ignores_padding:
            teacher.ignore_padding()  # as in training
        try:
            objective = distance_objective(config, states, teacher, checkpoint)
        except NoDistanceError as error:
            print(f"left out of the distances: {error}", flush=True)
            return {}
        task = DistillTask(student, teacher, nn.ModuleList([objective]), config.distill.target_layers)
        return score(task, loader, "cpu", self._taught(task, loader))

    def _taught(self, task: DistillTask, loader: HeldOutLoader) -> Callable[[Batch], dict[str, Tensor]] | None:
        """The teacher's layers of the held-out batches by way of the cache, as the distillations kept them."""
        if self.cache_teacher is None:
            return None
        folder = str(self.cache_teacher.absolute())
        data = DataConfig(root=str(self.speech), file_path="", sets=(HELD_OUT,), cache_teacher=folder)
        cache = TargetCache(task.teacher, values_hash(task.teacher.encoder), data)
        return TaughtBatches(cache, task, None, loader).of_held_out


def add_arguments(parser: argparse.ArgumentParser, out: str) -> None:
    """Adds the flags of every script of the miniature."""
    parser.add_argument("--speech", type=Path, required=True, help="LibriSpeech folder to distil on")
    parser.add_argument("--data", type=Path, required=True, help="value of SUPERB_DATA: the corpora of the tasks")
    parser.add_argument("--out", type=Path, default=Path(out))
    parser.add_argument("--tasks", nargs="+", default=[], help="tasks of the suite")
    parser.add_argument("--lr-search", action="store_true", help="as gendistiller superb")
    parser.add_argument(
        "--task-lr", nargs="+", default=[], metavar="TASK=RATE[,RATE...]", help="as gendistiller superb --lr"
    )
    parser.add_argument("--cache-features", metavar="DIR", type=Path, help="as gendistiller superb")
    parser.add_argument(
        TEACHER_FLAG, metavar="DIR", type=Path, help="as run_pretrain.py: forms of one seed compute each batch once"
    )
    parser.add_argument("--jobs", type=int, default=2, help="distillations at a time")


def from_arguments(args: argparse.Namespace) -> Miniature:
    """The miniature of the flags of `add_arguments`."""
    options = ["--lr-search"] if args.lr_search else []
    options += ["--tasks", *args.tasks] if args.tasks else []
    options += ["--lr", *args.task_lr] if args.task_lr else []
    options += ["--cache-features", str(args.cache_features)] if args.cache_features else []
    return Miniature(args.speech, args.data, args.out, args.jobs, options, args.cache_teacher)

"""A pretraining task for s3prl's Runner: data, student, loss, and the state to save.

s3prl's Runner runs the loop and the optimiser, and writes the files. The expert adds the true step,
the position in the data, the random state, and a held-out score.
"""

from __future__ import annotations

import dataclasses
import logging
import os
import sys
import time
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from s3prl_gendistiller.config import ModelConfig
from s3prl_gendistiller.config_runner import DataConfig
from s3prl_gendistiller.distill import ranks
from s3prl_gendistiller.distill.audit import check_audio, speech_hash
from s3prl_gendistiller.distill.compiling import compile_task
from s3prl_gendistiller.distill.crops import Batch
from s3prl_gendistiller.distill.data import HeldOutLoader, TrainLoader
from s3prl_gendistiller.distill.fit import check_fit, projections
from s3prl_gendistiller.distill.metrics import append_metrics
from s3prl_gendistiller.distill.objectives import Setting, build_objectives
from s3prl_gendistiller.distill.objectives.layerwise import build_front_end
from s3prl_gendistiller.distill.precision import dtype_of
from s3prl_gendistiller.distill.shared_front_end import check_shared, share_front_end
from s3prl_gendistiller.distill.task import DistillTask, score
from s3prl_gendistiller.distill.teacher import Teacher
from s3prl_gendistiller.distill.weights import values_hash
from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.host import meeting, mount
from s3prl_gendistiller.host.checkpoint import FORMAT_VERSION, OBJECTIVE_PACKAGES
from s3prl_gendistiller.host.objectives import OBJECTIVES, load_objectives
from s3prl_gendistiller.host.paths import speech_folders, with_absolute_files
from s3prl_gendistiller.host.random_states import RandomStates
from s3prl_gendistiller.host.rank_task import RankTask
from s3prl_gendistiller.host.resume import batches_done, check_fingerprints
from s3prl_gendistiller.host.students import build_student, load_weights
from s3prl_gendistiller.host.target_cache import TargetCache, TaughtBatches
from s3prl_gendistiller.host.teachers import load_teacher, warm_start_student
from s3prl_gendistiller.installed_objectives import packages
from s3prl_gendistiller.models.student import Student
from s3prl_gendistiller.schema import from_dict, to_dict
from s3prl_gendistiller.shipped import is_shipped
from s3prl_gendistiller.student_kinds import STUDENT_KINDS, read_model_config

logger = logging.getLogger(__name__)


class PretrainExpert(nn.Module):
    """The pretraining task of any kind of student; `task_expert` gives the class of one kind.

    Args:
        datarc: section `pretrain_expert.datarc` of the runner YAML.
        upstream_config: path of the model YAML in a new run, the stored dictionary in a run that goes on.
        multi_gpu: split each batch over all GPUs of this process (DataParallel).
    """

    task_name: str  # a name in `STUDENT_KINDS`

    def __init__(
        self, datarc: Mapping[str, Any], upstream_config: str | dict, device: str = "cuda", multi_gpu: bool = False
    ) -> None:
        super().__init__()
        meeting.refuse_unjoined(ranks.world())
        if "pretrain.runner" in sys.modules:  # also for s3prl's own script in a linked checkout
            mount.guard_runner(sys.modules["pretrain.runner"])
        self.device = device
        self.data = from_dict(DataConfig, datarc, "pretrain_expert.datarc")
        self.config: ModelConfig = _with_absolute_paths(read_model_config(self.task_name, upstream_config))
        self.train_loader, self.valid_loader = _loaders(self.data, pin_memory=torch.device(device).type == "cuda")

        teacher = load_teacher(self.config.teacher)
        fresh = not isinstance(upstream_config, dict)  # a run that goes on loads its weights from the checkpoint
        check_fit(self.config, teacher.name, teacher.num_layers, teacher.width, teacher.layout, warm_start=fresh)
        student = build_student(self.config)
        if student.ignores_padding:
            teacher.ignore_padding()
        distill = self.config.distill
        if distill.share_front_end:
            share_front_end(student, teacher)
        if fresh:
            warm_start_student(student, teacher, self.config)
            if distill.share_front_end:
                check_shared(student, teacher)
        setting = Setting(distill.target_layers, self.config.student.encoder_embed_dim, teacher)
        objectives = build_objectives(self.config.objectives, setting)
        front_end = build_front_end(setting) if distill.front_end_steps else None
        trained = nn.ModuleList([*objectives, *([] if front_end is None else [front_end])])
        self.model = nn.ModuleDict({"student": student, "objectives": trained})
        teacher.dtype = dtype_of(self.config.teacher.precision, device, "teacher.precision")
        dtype = dtype_of(distill.precision, device, "distill.precision")
        options: dict[str, Any] = {"random_depth": distill.random_depth, "front_end": front_end, "dtype": dtype}
        options["share_front_end"] = distill.share_front_end
        self.task = DistillTask(student, teacher, objectives, distill.target_layers, **options)
        if distill.compile:
            if multi_gpu:
                raise UserError(
                    "distill.compile: found true with --multi_gpu, expected false; start one process for each GPU with "
                    "torchrun in place of --multi_gpu (docs/training.md), or set distill.compile to false"
                )
            compile_task(self.task, self.data.padded_lengths, device)
        self.forward_task: Any = self._parallel(multi_gpu)

        self._step = 0
        self.last_step: int | None = None  # of the run; `runners` sets it
        self._train_sums: list[Tensor] = []
        self._valid_reports: list[tuple[int, dict[str, float]]] = []
        self.held_out_loss: float | None = None  # the last one, for `progress`
        self._random_states = RandomStates(self.train_loader.sampler.seed)
        self._clock = time.perf_counter()
        self._fingerprints = {"teacher": values_hash(teacher.encoder), "data": speech_hash(self.train_loader.crops)}
        if (here := meeting.present()) is not None:
            here.agree("teacher and speech", self._fingerprints)
        cached = self.data.cache_teacher is not None
        cache = TargetCache(teacher, self._fingerprints["teacher"], self.data) if cached else None
        self.taught = None if cache is None else TaughtBatches(cache, self.task, self.train_loader, self.valid_loader)
        _log_parameters(student, teacher)
        for line in projections(self.config, teacher.width):
            logger.info("%s", line)
        if distill.front_end_steps:
            logger.info("the first %s steps train the front end alone", f"{distill.front_end_steps:,}")

    def forward(
        self, data: Batch, records: dict[str, list], global_step: int = 0, log_step: int = 1000, **kwargs: Any
    ) -> tuple[Tensor, dict[str, list]]:
        """The Runner's training call: the loss of a batch, and `records` unchanged, because the sums are kept here."""
        if not self._train_sums and self._step == 0:
            self._clock = time.perf_counter()  # start-up does not count as training time
        if self.task.dtype == torch.float16 or self.config.distill.precision == "auto":
            self._follow_the_runner()
        self._random_states.restore(self.train_loader.batches_done)
        self._step = global_step
        wavs = data.wavs.to(self.device, non_blocking=True)
        distill = self.config.distill
        front_end_only = global_step <= distill.front_end_steps
        probability = distill.teacher_probability(global_step)
        known = {} if self.taught is None else self.taught.of_training(data, wavs, front_end_only)
        sums = self.forward_task(wavs, data.lengths, probability, front_end_only, **known)
        self._train_sums.append(sums.detach().sum(0, keepdim=True))
        return self.task.loss(sums), records

    def _follow_the_runner(self) -> None:
        """With `runner.fp16` the Runner scales the loss, and its autocast holds unless `precision` says otherwise."""
        scaled = torch.is_autocast_enabled(torch.device(self.device).type)
        if self.task.dtype == torch.float16 and not scaled:
            raise UserError(
                "distill.precision: found float16 without config.runner.fp16, whose scaled loss keeps gradients of 16 "
                "bits from vanishing; add -o config.runner.fp16=true, or set distill.precision to auto"
            )
        if scaled:
            self.task.dtype = None

    def before_training(self, batches: int) -> None:
        """Checks that a cache of the teacher has room for the batches that are left; called before the first step.

        UserError: it has none.
        """
        if self.taught is not None:
            self.taught.require_room(batches)

    def get_train_dataloader(self) -> TrainLoader:
        return self.train_loader

    def on_before_zero_grad(self) -> None:
        """Scores the held-out set, also after the run's last step; the Runner calls this after each optimiser step."""
        due = self._step % self.data.valid_step == 0 or self._step == self.last_step
        if self.valid_loader is not None and due:
            started = time.perf_counter()
            taught = None if self.taught is None else self.taught.of_held_out
            report = score(self.task, self.valid_loader, self.device, taught)
            self._valid_reports.append((self._step, report))
            self.held_out_loss = report["loss"]
            self._clock += time.perf_counter() - started  # scoring does not count as training time

    def log_records(self, records: dict[str, list], logger: Any, prefix: str, global_step: int, **kwargs: Any) -> None:
        """Writes the means since the last call to TensorBoard and, as one line of JSON each, to metrics.jsonl."""
        rows = torch.cat(self._train_sums)
        used = rows.isfinite().flatten(1).all(1)  # the others belong to skipped steps
        train_sums = rows[used].sum(0, keepdim=True)
        train = {**self.task.report(train_sums), "loss": float(self.task.loss(train_sums))} if used.any() else {}
        train["seconds_per_batch"] = (time.perf_counter() - self._clock) / len(rows)
        self._train_sums.clear()
        entries = [("train", global_step, train)] + [("valid", step, report) for step, report in self._valid_reports]
        self._valid_reports.clear()
        for split, step, report in entries if ranks.rank() == 0 else ():
            append_metrics(logger.logdir, split, step, report)
            for name, value in report.items():
                if (split, name) != ("train", "loss"):  # the Runner writes that one itself
                    logger.add_scalar(f"{prefix.replace('train-', f'{split}-')}{name}", value, global_step=step)
        self._clock = time.perf_counter()

    def add_state_to_save(self, all_states: dict[str, Any]) -> dict[str, Any]:
        """Adds the student, and all that an exact resume needs, to the entries of the Runner."""
        all_states[STUDENT_KINDS[self.task_name].weights] = self._student.stored_module.state_dict()
        if self._student.host_config():
            all_states["Config"] = {**all_states["Config"], **self._student.host_config()}
        objectives = self.model["objectives"].state_dict()
        if objectives:  # heads and projections that are trained with the student; only a run that goes on needs them
            all_states[OBJECTIVES] = objectives
        all_states["Upstream_Config"] = to_dict(self.config)
        brought = {objective.name: packages(objective.name) for objective in self.config.objectives}
        if any(brought.values()):
            all_states[OBJECTIVE_PACKAGES] = {name: package for name, package in brought.items() if package}
        all_states["Format_Version"] = FORMAT_VERSION
        all_states["Step"] = self._step  # the Runner's count is one lower, so that this step would be repeated
        loader = self.train_loader
        all_states["Progress"] = {"batches_done": loader.batches_done, "epoch_batches": len(loader)}
        all_states["Fingerprints"] = self._fingerprints
        all_states["RNG"] = self._random_states.entry(self.device)
        return all_states

    def load_model(self, all_states: dict[str, Any]) -> None:
        """Restores a checkpoint of this task, so that the run goes on at the next batch."""
        key = STUDENT_KINDS[self.task_name].weights
        if key not in all_states:
            raise UserError(f"-e: the checkpoint holds no {key}, expected one of task {self.task_name}")
        load_weights(self._student, all_states[key], "-e")
        if self.config.distill.share_front_end:
            check_shared(self._student, self.task.teacher)
        check_fingerprints(all_states, self._fingerprints, self.data)
        if self.model["objectives"].state_dict():
            load_objectives(self.model["objectives"], all_states, "-e")
        if "Progress" in all_states:
            self.train_loader.resume(batches_done(all_states["Progress"], len(self.train_loader)))
        self._random_states.load(all_states.get("RNG"))

    def _parallel(self, multi_gpu: bool) -> Any:
        """The task as it is trained: on its share of each batch, on all GPUs of this process, or as it is."""
        loader = self.train_loader
        if ranks.world() > 1:
            return RankTask(self.task, loader, loader.sampler.seed, varies=_batches_vary(self.config))
        return nn.DataParallel(self.task) if multi_gpu else self.task

    @property
    def _student(self) -> Student:
        student = self.model["student"]
        assert isinstance(student, Student)
        return student


def task_expert(name: str) -> type[PretrainExpert]:
    """The class that s3prl's Runner looks up under ``pretrain.NAME.pretrain_expert``."""
    return type("UpstreamPretrainExpert", (PretrainExpert,), {"task_name": name})


def _loaders(data: DataConfig, *, pin_memory: bool) -> tuple[TrainLoader, HeldOutLoader | None]:
    root, folder = speech_folders(data.root, data.file_path)
    options: dict[str, Any] = {name: getattr(data, name) for name in ("crop_samples", "num_workers", "skip_bad")}
    options |= {"batch_size": data.train_batch_size, "pin_memory": pin_memory}
    seed = torch.initial_seed() % 2**32  # the host seeds torch with --seed before it builds the task
    manifests = [folder / f"{name}.csv" for name in data.sets]
    train = TrainLoader(manifests, root, seed=seed, padded_lengths=data.padded_lengths, **options)
    valid = (
        HeldOutLoader([folder / f"{name}.csv" for name in data.valid_sets], root, **options)
        if data.valid_sets
        else None
    )
    for loader in () if data.skip_bad else filter(None, (train, valid)):
        check_audio(loader.crops)
    return train, valid


def _with_absolute_paths(config: ModelConfig) -> ModelConfig:
    """Makes the paths of teacher and units absolute, because a run may go on in another working directory.

    A shipped teacher keeps its name, which is valid in every installation.
    """
    paths = {
        name: os.path.abspath(value)
        for name, value in (("folder", config.teacher.folder), ("checkpoint", config.teacher.checkpoint))
        if value is not None and not value.startswith("${") and "://" not in value and not is_shipped(value)
    }
    teacher = dataclasses.replace(config.teacher, **paths)
    return dataclasses.replace(config, teacher=teacher, objectives=tuple(map(with_absolute_files, config.objectives)))


def _batches_vary(config: ModelConfig) -> bool:
    """Whether one batch may use other parameters than another one."""
    distill = config.distill
    drops = getattr(config.student, "encoder_layerdrop", 0.0) > 0.0
    return (
        distill.random_depth or distill.front_end_steps > 0 or drops or any(packages(o.name) for o in config.objectives)
    )


def _log_parameters(student: Student, teacher: Teacher) -> None:
    total = sum(parameter.numel() for parameter in student.parameters())
    of_teacher = sum(parameter.numel() for parameter in teacher.parameters())
    counts = [f"{name} {count:,}" for name, count in student.count_parameters().items() if name != "total"]
    parts = f" ({', '.join(counts)})" if counts else ""
    ratio = f"{1 - total / of_teacher:.0%} fewer than" if total < of_teacher else "not fewer than"
    logger.info("student: %s parameters%s, %s the teacher's %s", f"{total:,}", parts, ratio, f"{of_teacher:,}")

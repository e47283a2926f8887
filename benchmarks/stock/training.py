"""An optimiser step of s3prl's distiller and of ours, in the order of s3prl's Runner, and the clocks of its parts."""

from __future__ import annotations

import contextlib
import importlib
import math
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from miniature.forms import joined
from s3prl_gendistiller import student_kinds
from s3prl_gendistiller.config import ModelConfig
from s3prl_gendistiller.distill.objectives import Setting, build_objectives
from s3prl_gendistiller.distill.precision import dtype_of
from s3prl_gendistiller.distill.shared_front_end import share_front_end
from s3prl_gendistiller.distill.task import DistillTask
from s3prl_gendistiller.distill.teacher import Teacher
from s3prl_gendistiller.host.baseline import host_config
from s3prl_gendistiller.host.students import build_student
from s3prl_gendistiller.schema import merge, read_layered_yaml
from s3prl_gendistiller.shipped import shipped_folder

CLIP = 5.0  # of the shipped recipes
OPTIMISER = {"name": "AdamW_with_schedule", "lr": 2e-4, "warmup_proportion": 0.07, "betas": [0.9, 0.98], "eps": 1e-6}
"""Section `optimizer` of the shipped recipes, which is that of s3prl's distiller."""
STEPS = 1000  # of the schedule
PARTS = ("teacher", "student", "objective", "optimiser")
"""Parts of a step: the teacher's forward pass; the student's forward and backward pass; those of the losses, with the
copies to the device; clipping, update and clearing of the gradient."""


def paper_config(text: str) -> ModelConfig:
    """The configuration of a form over the shipped one at paper scale.

    Raises:
        UserError: the form is unknown, or its configuration is wrong.
    """
    kind, difference = text, {}
    if text not in student_kinds.STUDENT_KINDS:
        stated = joined(text)
        kind, difference = stated.task, stated.difference
    shipped = read_layered_yaml(shipped_folder("pretrain_configs") / kind / "config_model.yaml")
    return student_kinds.read_model_config(kind, merge(shipped, difference))


def stock_config(teacher: str = "hubert_base") -> dict[str, dict[str, Any]]:
    """s3prl's configuration of the released DistilHuBERT, which is that of our shipped recipe, with another teacher."""
    config: dict[str, dict[str, Any]] = host_config(paper_config("distilhubert"))  # type: ignore[arg-type]
    config["teacher"]["model"] = teacher
    # s3prl's copy of layers is for HuBERT: those of WavLM have weights that its student lacks
    config["distiller"]["init_teacher_encoder_layers"] = "hubert" in teacher
    return config


def noise(batch: int, samples: int) -> Tensor:
    """(B, S), the same in each call."""
    return torch.randn(batch, samples, generator=torch.Generator().manual_seed(samples)) / 10


def medians(runs: Mapping[str, Callable[[], object]], rounds: int, about: str) -> dict[str, float]:
    """Median wall time of functions in seconds; in each round all functions run one after another."""
    taken: dict[str, list[float]] = {name: [] for name in runs}
    for number in tqdm(range(rounds + 1), desc=about, leave=False):
        for name, run in runs.items():
            started = time.perf_counter()
            run()
            if number:  # the first round allocates the memory
                taken[name].append(time.perf_counter() - started)
    return {name: statistics.median(times) for name, times in taken.items()}


def our_task(config: ModelConfig, teacher: Teacher, device: torch.device | str = "cpu") -> DistillTask:
    """The task of a run on a device, as `host.pretrain_expert` builds it, without a warm start."""
    student = build_student(config)
    if student.ignores_padding:
        teacher.ignore_padding()
    distill = config.distill
    if distill.share_front_end:
        share_front_end(student, teacher)
    layers = distill.target_layers
    setting = Setting(layers, config.student.encoder_embed_dim, teacher)
    objectives = build_objectives(config.objectives, setting)
    teacher.dtype = dtype_of(config.teacher.precision, device, "teacher.precision")
    options: dict[str, Any] = {"random_depth": distill.random_depth, "share_front_end": distill.share_front_end}
    options["dtype"] = dtype_of(distill.precision, device, "distill.precision")
    return DistillTask(student, teacher, objectives, layers, **options).to(device).train()


def our_loss(task: DistillTask, wavs: Tensor, config: ModelConfig) -> Callable[[], Tensor]:
    """The loss of a batch (B, S) without padding, which is copied to the task's device in each call, as in a run."""
    lengths = torch.full((len(wavs),), wavs.shape[1])
    device = next(task.parameters()).device
    probability = config.distill.teacher_probability(1)
    return lambda: task.loss(task(wavs.to(device, non_blocking=True), lengths, probability))


class Clock:
    """Seconds of the parts of a step.

    A running clock waits for the device at the end of each part. A clock that does not run costs nothing.
    """

    def __init__(self, device: torch.device | str = "cpu") -> None:
        self.device = torch.device(device)
        self.parts: dict[str, float] = {}
        self.running = False
        self._last = 0.0

    def wait(self) -> None:
        """Returns once the device has done all its work."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def start(self) -> None:
        """Begins a step, whose parts are counted from here."""
        self.parts, self.running = dict.fromkeys(PARTS, 0.0), True
        self.wait()
        self._last = time.perf_counter()

    def lap(self, part: str) -> None:
        """Counts the time since the last lap for a part."""
        if self.running:
            self.wait()
            now = time.perf_counter()
            self.parts[part] += now - self._last
            self._last = now

    def watch(self, teacher: nn.Module, student: nn.Module) -> None:
        """Counts the calls of both modules, and the student's backward pass apart from that of the losses."""
        for part, module in (("teacher", teacher), ("student", student)):
            module.register_forward_pre_hook(lambda *_: self.lap("objective"))
            module.register_forward_hook(lambda *_, part=part: self.lap(part))
        student.register_forward_hook(self._watch_predictions)

    def _watch_predictions(self, module: nn.Module, inputs: object, output: Any) -> None:
        # s3prl's distiller gives (features, frames, predictions, mask). The gradient of our last generated layer is
        # known once the losses are done, because no later layer depends on it.
        predictions = output[2] if isinstance(output, tuple) else output.hidden_states[-1]
        if self.running and predictions.requires_grad:
            predictions.register_hook(lambda gradient: self.lap("objective"))


def optimiser_step(
    model: nn.Module, loss: Callable[[], Tensor], clock: Clock | None = None, *, float16: bool = False
) -> Callable[[], None]:
    """A function that takes one optimiser step with s3prl's optimiser, in the order of s3prl's Runner.

    As in the Runner, a step waits for the device twice, for the loss and for the norm of the gradient.

    Args:
        clock: counts the parts of each step.
        float16: with the Runner's autocast to float16 on a GPU, and its scaled loss.
    """
    clock = clock or Clock()
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimisers = importlib.import_module("s3prl.optimizers")
    optimiser = optimisers.get_optimizer([model], STEPS, OPTIMISER)
    scaler = torch.amp.GradScaler("cuda", enabled=float16)

    def step() -> None:
        with torch.autocast("cuda", torch.float16) if float16 else contextlib.nullcontext():
            value = loss()
        clock.lap("objective")
        scaler.scale(value).backward()
        clock.lap("student")
        value.item()
        scaler.unscale_(optimiser)
        norm = torch.nn.utils.clip_grad_norm_(trained, CLIP)
        if float16 or not math.isnan(norm):  # the scaler itself leaves out what is not finite
            scaler.step(optimiser)
            scaler.update()
        optimiser.zero_grad()
        clock.lap("optimiser")

    return step

"""The hours that a training of run_downstream.py takes on a CPU, said before it starts, with a shorter recipe."""

from __future__ import annotations

import argparse
import logging
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from s3prl_gendistiller.corpora.catalogue import is_synthetic
from s3prl_gendistiller.host.paths import VARIABLE
from s3prl_gendistiller.host.soft_labels import stock_task
from s3prl_gendistiller.models.upstream import read_generation
from s3prl_gendistiller.schema import read_layered_yaml
from s3prl_gendistiller.shipped import shipped_folder
from s3prl_gendistiller.student_kinds import OWN_UPSTREAM
from s3prl_gendistiller.superb.cost import multiply_adds
from s3prl_gendistiller.superb.models import BenchmarkedModel
from s3prl_gendistiller.superb.suite.duration import CORE_TFLOPS, training_seconds
from s3prl_gendistiller.superb.tasks import TASKS, Task

LONG_H = 1.0
"""Hours from which a training is announced."""
_LARGE = 40e9
"""More multiply-adds per second of audio than an upstream has; a run that would be short even so counts none."""

logger = logging.getLogger(__name__)


def announce(args: argparse.Namespace, config: Mapping[str, Any], steps: int, *, cached: bool = False) -> None:
    """Logs the hours of a training on this CPU, what the estimate is based on, and the small recipe of the task.

    Nothing is logged for a short training, a task that is not SUPERB's, or an upstream that cannot be counted.

    Args:
        args: arguments of s3prl's script, or those that a run began with.
        config: the configuration of the run.
        steps: optimiser steps that are left.
        cached: whether the features are computed once and kept.
    """
    task = _task(args.downstream, config)
    if task is None or _hours(task, config, steps, _LARGE, args) < LONG_H:
        return
    upstream = _multiply_adds(args)
    if upstream is None:
        return
    hours = _hours(task, config, steps, upstream, args)
    if hours < LONG_H:
        return
    most = "at most " if cached else ""
    said = f"{steps:,} steps of -d {args.downstream} take {most}about {_duration(hours)} on this CPU"
    logger.info("%s%s", said, "".join(_shorter(task, hours, upstream, args)))
    logger.info(
        "the hours assume %g TFLOP/s for each of torch's threads (%d), and count %.2g billion multiply-adds of this "
        "upstream for a second of audio; they may be wrong by a factor of two",
        CORE_TFLOPS,
        torch.get_num_threads(),
        upstream / 1e9,
    )


def _task(downstream: str, config: Mapping[str, Any]) -> Task | None:
    """SUPERB's task of a configuration; s3prl's ctc has two."""
    stock = stock_task(downstream)
    expert = config.get("downstream_expert", {})
    found = [task for task in TASKS.values() if task.downstream == stock and task.trained]
    return next((task for task in found if task.is_configured_by(expert)), None)


def _hours(task: Task, config: Mapping[str, Any], steps: int, upstream: float, args: argparse.Namespace) -> float:
    synthetic = VARIABLE in os.environ and is_synthetic(os.environ[VARIABLE])
    speech = task.speech_of("small" if synthetic else "official")
    rate = CORE_TFLOPS * 1e12 * torch.get_num_threads()
    fine_tuned = bool(getattr(args, "upstream_trainable", False))
    try:
        return training_seconds(task, speech, config, steps, upstream, rate, fine_tuned=fine_tuned) / 3600
    except (LookupError, StopIteration, TypeError):
        return 0.0  # a configuration of the user's own for another form of the task


def _shorter(task: Task, hours: float, upstream: float, args: argparse.Namespace) -> Iterator[str]:
    """The small recipe, if it takes less than half as long."""
    name = task.config("small")
    content = read_layered_yaml(shipped_folder("downstream_runs") / name)
    steps = content["runner"]["total_steps"]
    small = _hours(task, content, steps, upstream, args)
    if small < hours / 2:
        yield f"; -c downstream_runs/{name} has {steps:,} steps and takes about {_duration(small)}"


def _multiply_adds(args: argparse.Namespace) -> float | None:
    """Multiply-adds of the upstream per second of audio; None for one that is downloaded, or that cannot be counted."""
    checkpoint, settings = getattr(args, "upstream_ckpt", None), getattr(args, "upstream_model_config", None)
    steps = getattr(args, "steps", None)
    if args.upstream == OWN_UPSTREAM:
        steps = read_generation(settings).steps if steps is None else steps
    elif settings is not None:
        return None
    if getattr(args, "hub", None) not in (None, "torch") or (checkpoint is not None and "://" in checkpoint):
        return None
    model = BenchmarkedModel("student", args.upstream, None if checkpoint is None else Path(checkpoint), steps)
    if not model.weights:
        return 0.0  # fbank and the like: next to nothing beside the head
    try:
        return multiply_adds.size(model)[1] * 1e9
    except Exception as error:  # s3prl loads the upstream next, and raises what is wrong with it
        logger.debug("the upstream was not counted: %s: %s", type(error).__name__, error)
        return None


def _duration(hours: float) -> str:
    if hours >= 48:
        return f"{hours:,.0f} hours ({hours / 24:,.0f} days)"
    return f"{hours:.0f} hours" if hours >= 10 else f"{hours:.1f} hours" if hours >= 1 else f"{hours * 60:.0f} minutes"

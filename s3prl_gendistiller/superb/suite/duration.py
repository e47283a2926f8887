"""The time that one command of a suite takes, from stated assumptions.

A command takes

    batches x batch  +  audio x reading  +  2 x (computed x upstream + audio x head) / rate  +  pairs x PAIR_S / cores

seconds, with the seconds of audio that s3prl reads (`Task.speech`); the part of it whose features are computed and not
read from a cache; the multiply-adds of the upstream per second of audio (counted on the model itself,
`multiply_adds`) and those of the head (its parameters x 50 frames, three times as many in training); and the floating
point operations per second that the device sustains.

GPU. The rate is the weakest assumption. One measurement is known: four trainings of PR with 12-layer students of 3.8 G
multiply-adds per second of audio took about 22 hours side by side on one A40; this formula gives 24 at 16e12 a second,
two fifths of the peak of that GPU. Other devices scale with their peak in 32-bit arithmetic, up to a factor of two. The
30 ms of a batch besides arithmetic (Python, launching kernels, waiting) are an assumption.

CPU. The constants fit the small preset on two cores, one run on each: PR, KS and SID took fbank 107, 65 and 70 s, and
hubert_mini, whose features were kept, 122, 128 and 116 s. Other programs on the same cores made runs up to three times
as long.

The formula leaves out decoding with a language model, which may cost more.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from s3prl_gendistiller.distill.audio import SAMPLE_RATE
from s3prl_gendistiller.host.feature_store import CACHE_FLAG
from s3prl_gendistiller.superb.corpus.sizes import Speech
from s3prl_gendistiller.superb.suite.dry_run import Work
from s3prl_gendistiller.superb.suite.suite import Suite
from s3prl_gendistiller.superb.tasks import Task

GPU_TFLOPS, CORE_TFLOPS = 16.0, 0.05
GPU_BATCH_S, CPU_BATCH_S = 0.03, 0.02
GPU_READING, CPU_READING = 0.0, 0.0006
"""Seconds for reading one second of audio; beside a GPU other processes read."""
PAIR_S = 0.008
"""Seconds of s3prl's `match` on one core for a query of 1.4 s and a document of 6.6 s, 768 wide; measured."""
FRAMES_PER_S = 50
_BASIS = {
    True: "That speed is an assumption, with which four trainings of PR on an A40 agree up to an eighth.",
    False: "That speed fits PR, KS and SID of the small preset on two cores; beside other programs they took up to "
    "three times as long.",
}
"""Origin of the assumed speed, by whether it is the speed of a GPU."""


def basis_in_words(tflops: float, on_gpu: bool, *, given: bool) -> str:
    """What an estimate is based on; `given` if the user has stated the speed."""
    origin = "That speed is the one of --tflops." if given else _BASIS[on_gpu]
    return f"Based on {tflops:.2g} TFLOP/s for each run, on {'a GPU' if on_gpu else 'this CPU'}. {origin}"


class Durations:
    """Times of the commands of a suite, which are asked for in the order in which they run.

    Args:
        gmacs: billions of multiply-adds per second of audio, by model.
        tflops: 10^12 floating point operations per second of one run.
    """

    def __init__(self, suite: Suite, gmacs: Mapping[str, float], tflops: float, *, on_gpu: bool) -> None:
        self._gmacs, self._rate, self._on_gpu = gmacs, tflops * 1e12, on_gpu
        self._contents = {task.name: suite.content(task) for task in suite.tasks}
        self._kept: dict[tuple[str, str], set[str]] = defaultdict(set)  # splits in the cache, by student and speech
        self._kept_s: dict[tuple[str, str], float] = defaultdict(float)

    def seconds(self, work: Work) -> float:
        """Seconds of a command, or of the commands for all its checkpoints."""
        task, content = work.run.task, self._contents[work.run.task.name]
        speech = task.speech_of(work.run.suite.preset)
        head = FRAMES_PER_S * task.head_parameters(content["downstream_expert"]) if task.trained else 0
        splits = {task.dev: speech.dev_s, task.test: speech.test_s}
        batches, warping, train_s = 0, 0.0, 0.0
        if work.steps:
            batches, train_s, read = _training_audio(task, speech, content, work.steps)
        else:
            read = {work.split: work.checkpoints * (speech.dev_s if work.split == task.dev else speech.test_s)}
            warping = work.checkpoints * speech.pairs * PAIR_S / (os.cpu_count() or 1)
        computed = self._computed(work, {"train": train_s, **read}, {"train": speech.whole_s, **splits})
        audio_s = train_s + sum(read.values())
        arithmetic = computed * self._gmacs[work.run.model.name] * 1e9 + (audio_s + 2 * train_s) * head
        return _seconds(batches, audio_s, arithmetic, self._rate, on_gpu=self._on_gpu) + warping

    def _computed(self, work: Work, read: Mapping[str, float], whole: Mapping[str, float]) -> float:
        """Seconds of audio whose features a command computes: with a cache those that no command before has kept.

        Args:
            read: seconds that the command reads, by split; an utterance counts as often as it is read.
            whole: seconds of each split; of `train` an upper bound.
        """
        if CACHE_FLAG not in work.command:
            return sum(read.values())
        task = work.run.task
        key = (work.run.model.distillation, task.shared or task.name)
        fresh = sum(min(seconds, whole[split]) for split, seconds in read.items() if split not in self._kept[key])
        fresh = min(fresh, max(0.0, task.speech_of(work.run.suite.preset).whole_s - self._kept_s[key]))
        self._kept[key] |= {split for split, seconds in read.items() if seconds}
        self._kept_s[key] += fresh
        return fresh


def training_seconds(
    task: Task,
    speech: Speech,
    content: Mapping[str, Any],
    steps: int,
    upstream: float,
    rate: float,
    *,
    fine_tuned: bool = False,
) -> float:
    """Seconds of one training on a CPU, with its evaluations on dev, that keeps no features.

    Args:
        speech: the audio that the task reads.
        content: configuration of run_downstream.py.
        steps: optimiser steps.
        upstream: multiply-adds of the upstream per second of audio.
        rate: floating point operations per second.
        fine_tuned: whether the upstream is trained too.
    """
    batches, train_s, read = _training_audio(task, speech, content, steps)
    dev_s, head = sum(read.values()), FRAMES_PER_S * task.head_parameters(content["downstream_expert"])
    arithmetic = train_s * ((3 if fine_tuned else 1) * upstream + 3 * head) + dev_s * (upstream + head)
    return _seconds(batches, train_s + dev_s, arithmetic, rate, on_gpu=False)


def _seconds(batches: int, audio_s: float, arithmetic: float, rate: float, *, on_gpu: bool) -> float:
    """Seconds of batches with so much audio and so many multiply-adds, at a rate of operations per second."""
    batch_s, reading = (GPU_BATCH_S, GPU_READING) if on_gpu else (CPU_BATCH_S, CPU_READING)
    return batches * batch_s + audio_s * reading + 2 * arithmetic / rate


def _training_audio(
    task: Task, speech: Speech, content: Mapping[str, Any], steps: int
) -> tuple[int, float, dict[str, float]]:
    """Batches of a training, seconds of audio in them, and seconds that its evaluations read, by split."""
    expert, runner = content["downstream_expert"], content["runner"]
    splits = {task.dev: speech.dev_s, task.test: speech.test_s}
    batches = steps * runner["gradient_accumulate_steps"]
    train_s = batches * task.batch_utterances(expert) * min(speech.utterance_s, longest_s(expert))
    read = {split: splits.get(split, 0.0) * (steps // runner["eval_step"]) for split in runner["eval_dataloaders"]}
    return batches, train_s, read


def longest_s(expert: Mapping[str, Any]) -> float:
    """Seconds of the longest crop that a configuration allows."""
    return float(expert.get("datarc", {}).get("max_timestep", 10**9)) / SAMPLE_RATE

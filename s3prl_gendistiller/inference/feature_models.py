"""A model whose features are used, with one call for students in torch and for exported ones."""

from __future__ import annotations

import importlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, cast

import torch
from torch import Tensor

from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.host.feature_cache import files_hash
from s3prl_gendistiller.host.students import check_steps, holds_onnx, load_student, student_place
from s3prl_gendistiller.models.student import Student
from s3prl_gendistiller.models.upstream import CONFIG, FRAME_SAMPLES, GRAPH, WEIGHTS
from s3prl_gendistiller.models.waveforms import MIN_SAMPLES
from s3prl_gendistiller.shipped import existing_or_shipped


class FeatureModel(Protocol):
    """``model(wavs, lengths) -> (hidden states, frame mask)``: (B, S) float32 at 16 kHz, zero behind each end, and (B,)
    samples give a list of (B, T, D) on the CPU and (B, T), True = real frame.

    Attributes:
        name: for messages.
        width: D.
        num_layers: number of hidden states in the list; the first one is what enters the first layer.
    """

    name: str
    width: int
    num_layers: int

    def __call__(self, wavs: Tensor, lengths: Tensor) -> tuple[list[Tensor], Tensor]: ...


class TorchStudent:
    """A student in torch as a `FeatureModel`.

    Args:
        student: in eval mode.
        steps: number of layers that it generates; None: its `default_steps`.
        device: where it runs; the student is moved there.

    Attributes:
        batches: whether a file has the same features in every batch; others are read one at a time.
    """

    def __init__(self, student: Student, name: str, *, steps: int | None = None, device: str = "cpu") -> None:
        self.student, self.name, self.device = student.to(device), name, device
        self.steps = student.default_steps if steps is None else steps
        self.batches = student.ignores_padding
        self.front = student.front
        states, _ = self(torch.zeros(1, MIN_SAMPLES), torch.tensor([MIN_SAMPLES]))
        self.width, self.num_layers = states[0].shape[-1], len(states)
        second = torch.tensor([MIN_SAMPLES + FRAME_SAMPLES - 1, MIN_SAMPLES + FRAME_SAMPLES])
        if self.front is not None and self.front.front_end.frames(second).tolist() != [1, 2]:
            raise UserError(f"{name}: found other frames than 400 samples, 320 apart; expected those of HuBERT")

    @torch.inference_mode()
    def __call__(self, wavs: Tensor, lengths: Tensor) -> tuple[list[Tensor], Tensor]:
        output = self.student(wavs.to(self.device), lengths.cpu(), steps=self.steps)
        return [state.float().cpu() for state in output.hidden_states], output.frame_mask.cpu()

    @torch.inference_mode()
    def states_of(self, features: Tensor) -> list[Tensor]:
        """The hidden states, each (1, T, D), of features (1, T, C) that `front` has computed."""
        samples = (features.shape[1] - 1) * FRAME_SAMPLES + MIN_SAMPLES
        wavs = features.new_zeros(1, samples)  # stands for the samples, of which the student takes the number alone
        output = self.student(wavs, torch.tensor([samples]), steps=self.steps, features=features)
        return [state.float().cpu() for state in output.hidden_states]


def load_feature_model(
    place: str | Path, *, steps: int | None = None, device: str = "cpu", threads: int | None = None
) -> FeatureModel:
    """The student at a place: a checkpoint, the folder of a run, or a folder of `gendistiller export`.

    Args:
        steps: number of layers to generate; None: all, or as many as the folder states.
        device: "cpu", "cuda" or "cuda:N"; an ONNX folder runs on the CPU.
        threads: of the CPU; None: as many as the library takes. In torch, they are those of the whole process.

    Raises:
        UserError: the place holds no student, or the student does not generate `steps` layers.
    """
    place = existing_or_shipped(place)
    if holds_onnx(place):
        if device != "cpu":
            raise UserError(f"--device: found {device} for {place}, an ONNX folder, which runs on cpu; leave it out")
        onnx = importlib.import_module("s3prl_gendistiller.inference.onnx_student")
        return cast(FeatureModel, onnx.OnnxStudent(place, steps=steps, threads=threads))
    check_steps(steps, place)
    if threads is not None:
        check_threads(threads)
        torch.set_num_threads(threads)
    return TorchStudent(load_student(place), place.name, steps=steps, device=device)


def check_threads(threads: int) -> None:
    """UserError if this machine has fewer cores than `threads`; thousands of threads end the process."""
    cores = os.cpu_count() or 1
    if not 1 <= threads <= cores:
        raise UserError(f"threads: found {threads}, expected 1 to {cores}, the cores of this machine")


def place_hash(place: str | Path) -> str:
    """Hexadecimal digits of the content of a student's files at a place that `load_feature_model` takes."""
    path = existing_or_shipped(place)
    if holds_onnx(path):
        return " ".join(files_hash(file) for file in sorted(path.glob(f"{GRAPH}*")))  # weights may lie beside it
    path = student_place(path)
    files = [path / CONFIG, path / WEIGHTS] if path.is_dir() else [path]
    return " ".join(map(files_hash, files))


def choose_layers(asked: Sequence[int] | int | None, model: FeatureModel) -> list[int]:
    """Indices of hidden states, counted from 0, of numbers of which negative ones count from the end; None: all.

    UserError: a number is out of range, or names a state for the second time.
    """
    count = model.num_layers
    asked = [asked] if isinstance(asked, int) else asked
    chosen = [*range(count)] if asked is None else [layer + count if layer < 0 else layer for layer in asked]
    if not chosen or len({*chosen}) < len(chosen) or not all(0 <= layer < count for layer in chosen):
        shown = " ".join(map(str, asked or ())) or "none"
        raise UserError(
            f"layers: found {shown}, expected different numbers from {-count} to {count - 1}: 0 is what enters the "
            f"first layer of {model.name}, {count - 1} or -1 the last layer"
        )
    return chosen

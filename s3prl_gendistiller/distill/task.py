"""A distillation task: student, frozen teacher and objectives behind one call."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from s3prl_gendistiller.distill import ranks
from s3prl_gendistiller.distill.crops import Batch
from s3prl_gendistiller.distill.precision import computing_in
from s3prl_gendistiller.distill.teacher import Teacher, trim_to_shorter
from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.models.student import Student

Terms = dict[str, tuple[Tensor, Tensor]]
"""Sum and count of each term."""
Known = tuple[Tensor | None, Tensor | None]
"""Layers and features of the teacher that are known before a batch is computed."""


class DistillTask(nn.Module):
    """One training or scoring pass over a batch.

    Args:
        student: called as ``student(wavs, lengths)``; with teacher feedback also with `teacher_layers` and
            `teacher_probability`.
        teacher: stays in eval mode in every mode of the task.
        objectives: modules with `terms`, see `distill.objectives`.
        target_layers: the teacher layers that are distilled.
        random_depth: train each batch on the first k layers only, k drawn from 1..N. The loss of a batch holds only
            the layers that were generated.
        front_end: the objective of the steps that train the front end alone, see `forward`.
        dtype: in which the student computes, see `precision`; None: as the caller's autocast says.
        share_front_end: the student takes the features of the teacher's CNN, see `distill.shared_front_end`.

    Raises:
        UserError: the teacher has no such layer.
    """

    def __init__(
        self,
        student: nn.Module,
        teacher: Teacher,
        objectives: nn.ModuleList,
        target_layers: Sequence[int],
        *,
        random_depth: bool = False,
        front_end: nn.Module | None = None,
        dtype: torch.dtype | None = None,
        share_front_end: bool = False,
    ) -> None:
        super().__init__()
        check_layers(target_layers, teacher.num_layers, teacher.name)
        self.student = student
        self.teacher = teacher
        self.objectives = objectives
        self.target_layers = tuple(target_layers)
        self.random_depth = random_depth
        self.front_end = front_end
        self.dtype = dtype
        self.share_front_end = share_front_end
        self.terms: dict[str, float] = {}
        for objective in (*objectives, *([] if front_end is None else [front_end])):
            self.terms.update(objective.terms)
        self._sources: list[int | None] = [getattr(objective, "source_layer", None) for objective in objectives]

    def taught_layers(self, front_end_only: bool = False) -> list[int]:
        """The teacher's layers that a batch needs at most: the targets, and the source layers of objectives."""
        beside = {layer for layer in self._sources if layer is not None} - set(self.target_layers)
        return [0] if front_end_only else [*self.target_layers, *sorted(beside)]

    def forward(
        self,
        wavs: Tensor,
        lengths: Tensor,
        teacher_probability: float = 0.0,
        front_end_only: bool = False,
        depth: int | None = None,
        taught: Tensor | None = None,
        features: Tensor | None = None,
    ) -> Tensor:
        """Sums and counts of all terms for a batch.

        Args:
            wavs: (B, S), zero padded; lengths: (B,) samples.
            teacher_probability: probability that a teacher layer replaces the generated layer as history.
            front_end_only: compare only the frames that enter the first layers of teacher and student, as layer 0.
            depth: k of `random_depth`, where the caller draws k; None: the task draws k from torch's global generator.
            taught: `taught_layers` of the teacher (B, L, T', D_t), if they are known; None: the teacher computes them.
            features: beside `taught`, the features (B, T', C) of the teacher's CNN for `share_front_end`, if known.

        Returns:
            (1, K, 2): sum and count of every term, in the order of `terms`. DataParallel gathers its replicas along the
            first axis, and `loss` adds them before it divides.
        """
        known = (taught, features)
        if front_end_only:
            values = self._front_end(wavs, lengths, known)
        else:
            values = self._layers(wavs, lengths, teacher_probability, depth, known)
        none = wavs.new_zeros((), dtype=torch.float32)
        pairs = (values.get(name, (none, none)) for name in self.terms)
        return torch.stack([torch.stack((total.float(), count.float())) for total, count in pairs]).unsqueeze(0)

    def _front_end(self, wavs: Tensor, lengths: Tensor, known: Known) -> Terms:
        assert self.front_end is not None and isinstance(self.student, Student)
        taught, shared = self._teach(wavs, lengths, [0], known)  # (B, 1, T', D_t)
        with self._precision(wavs.device):
            z, mask = self.student.encode(wavs, lengths, **shared)
        taught, own, mask = trim_to_shorter(taught, z.unsqueeze(1), mask)
        with torch.autocast(wavs.device.type, enabled=False):
            terms: Terms = self.front_end(taught, own.float(), mask)
        return terms

    def _layers(
        self, wavs: Tensor, lengths: Tensor, teacher_probability: float, drawn: int | None, known: Known
    ) -> Terms:
        options: dict[str, Any] = {}
        depth = len(self.target_layers)
        if self.random_depth and self.training:
            depth = options["steps"] = int(torch.randint(1, depth + 1, ())) if drawn is None else drawn
        every = self.taught_layers()
        layers = [*self.target_layers[:depth], *every[len(self.target_layers) :]]
        if known[0] is not None and layers != every:
            known = (torch.stack([known[0][:, every.index(layer)] for layer in layers], dim=1), known[1])
        taught, shared = self._teach(wavs, lengths, layers, known)  # k targets and source layers: (B, L, T', D_t)
        options.update(shared)
        targets = taught[:, :depth]
        if teacher_probability > 0.0:
            options.update(teacher_layers=targets, teacher_probability=teacher_probability)
        with self._precision(wavs.device):
            output = self.student(wavs, lengths, **options)
        compared = [self._compare(taught, each, output.frame_mask, layers, depth) for each in output.prediction_sets]
        return functools.reduce(_added, compared)

    def _compare(self, taught: Tensor, predictions: Tensor, mask: Tensor, layers: Sequence[int], depth: int) -> Terms:
        """The terms of one prediction (B, k, T, D) of the first `depth` of the teacher's `layers` (B, L, T', D_t)."""
        taught, predictions, mask = trim_to_shorter(taught, predictions, mask)
        with torch.autocast(predictions.device.type, enabled=False):
            values: Terms = {}
            for objective, source in zip(self.objectives, self._sources, strict=True):
                if source in (None, *layers):  # otherwise the source is a target layer beyond this batch's depth
                    given = taught[:, :depth] if source is None else taught[:, layers.index(source)].unsqueeze(1)
                    values.update(_known_terms(objective, objective(given, predictions.float(), mask)))
        return values

    def _precision(self, device: torch.device) -> contextlib.AbstractContextManager:
        return contextlib.nullcontext() if self.dtype is None else computing_in(self.dtype, device)

    def _teach(
        self, wavs: Tensor, lengths: Tensor, layers: Sequence[int], known: Known
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The teacher's `layers` (B, L, T', D_t), and the keyword with which the student takes shared features."""
        taught, features = known
        if not self.share_front_end:
            return self.teacher(wavs, lengths, layers) if taught is None else taught, {}
        if taught is None:
            taught, features = self.teacher.with_features(wavs, lengths, layers)
        elif features is None:
            features = self.teacher.features(wavs, lengths)
        return taught, {"features": features}

    def loss(self, sums: Tensor) -> Tensor:
        """The weighted loss, a scalar, from gathered sums (R, K, 2)."""
        weights = torch.tensor(list(self.terms.values())).to(sums.device, non_blocking=True)
        return (self._means(sums) * weights).sum()

    def report(self, sums: Tensor) -> dict[str, float]:
        """The mean of every term from sums (R, K, 2) of any number of batches; a term without a frame is left out."""
        means, counts = self._means(sums).tolist(), sums.sum(0)[:, 1].tolist()
        return {name: mean for name, mean, count in zip(self.terms, means, counts, strict=True) if count}

    @staticmethod
    def _means(sums: Tensor) -> Tensor:
        totals, counts = sums.sum(0).unbind(-1)
        return totals / counts.clamp(min=1.0)


def _added(first: Terms, second: Terms) -> Terms:
    """The sums and counts of two predictions of the same layers together."""
    return {name: (total + second[name][0], count + second[name][1]) for name, (total, count) in first.items()}


def _known_terms(objective: Any, values: Any) -> Terms:
    """The terms that an objective has computed; a UserError for one that its `terms` lack, which would be lost."""
    unknown = values.keys() - objective.terms.keys() if isinstance(values, dict) else {type(values).__name__}
    if unknown:
        found = ", ".join(map(str, sorted(unknown, key=str)))
        raise UserError(
            f"objectives: {type(objective).__name__} gave {found}, expected sum and count of its terms "
            f"{', '.join(objective.terms)} in a dictionary; correct that objective"
        )
    return values


@torch.no_grad()
def score(
    task: DistillTask,
    batches: Iterable[Batch],
    device: torch.device | str,
    taught: Callable[[Batch], dict[str, Tensor]] | None = None,
) -> dict[str, float]:
    """Free-running means of all terms over `batches`, and the weighted loss as "loss"; the mode is restored.

    With several ranks, `batches` are those of one rank, and the means are over the batches of all ranks. `taught` gives
    what is known of a batch, as keywords of `DistillTask.forward`; None: the teacher computes all.
    """

    def sums_of(batch: Batch) -> Tensor:
        known = {} if taught is None else taught(batch)
        sums: Tensor = task(batch.wavs.to(device), batch.lengths, **known)
        return sums.double().cpu()

    was_training = task.training
    task.eval()
    try:
        # float64: a held-out set has millions of frames, more than float32 can count exactly
        totals = [sums_of(batch) for batch in batches]
    finally:
        task.train(was_training)
    if ranks.world() > 1:  # a rank may have no batch
        none = torch.zeros(1, len(task.terms), 2, dtype=torch.float64)
        totals = [ranks.total(torch.cat([none, *totals]).sum(0, keepdim=True))]
    sums = torch.cat(totals)
    return {**task.report(sums), "loss": float(task.loss(sums))}


def check_layers(target_layers: Sequence[int], num_layers: int, teacher: str) -> None:
    """Raises a UserError that names every target layer that the teacher does not have, if there are any."""
    wrong = [layer for layer in target_layers if not 1 <= layer <= num_layers]
    if wrong:
        raise UserError(
            f"distill.target_layers: found {', '.join(map(str, wrong))}, expected 1..{num_layers} "
            f"(teacher {teacher} has {num_layers} layers); change the list in the model configuration"
        )

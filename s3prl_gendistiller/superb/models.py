"""The models that can be benchmarked: a student's checkpoint, a transformers folder, or an s3prl upstream by name."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from s3prl_gendistiller.distill.transformers_teacher import read_teacher_shape
from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.host.checkpoint import newest_checkpoint, read_checkpoint, student_kind
from s3prl_gendistiller.host.feature_cache import files_hash
from s3prl_gendistiller.host.students import check_steps
from s3prl_gendistiller.host.upstream_files import check_file
from s3prl_gendistiller.host.upstreams import FOLDERS_ENTRY, STUDENT
from s3prl_gendistiller.shipped import existing_or_shipped
from s3prl_gendistiller.student_kinds import OWN_UPSTREAM
from s3prl_gendistiller.superb.checks import one_line

SIGNALS = ("baseline", "spectrogram", "fbank", "fbank_no_cmvn", "mfcc", "mel", "linear", "stft_mag")
"""Upstreams of s3prl without weights."""
FEATURES = ("weighted", "last")
NAME = re.compile(r"\w[\w.+-]{0,99}")
"""Pattern of a model's name, which is also the name of the folder of its runs."""


@dataclass(frozen=True)
class BenchmarkedModel:
    """A student, or a reference beside it such as its teacher or fbank.

    Attributes:
        upstream: s3prl's ``-u``.
        checkpoint: s3prl's ``-k``; None for an upstream that needs none.
        steps: number of layers that a GenDistiller generates; None for all.
        baseline: whether the model is a DistilHuBERT, whose last hidden states are prediction heads.
        learned: whether the model has weights, as hubert_base has and fbank has not; None where it was not loaded.
    """

    name: str
    upstream: str
    checkpoint: Path | None = None
    steps: int | None = None
    baseline: bool = False
    learned: bool | None = None

    @property
    def weights(self) -> bool:
        """Whether the features take longer to compute than to read from a disk."""
        return self.upstream not in SIGNALS if self.learned is None else self.learned

    @property
    def group(self) -> str:
        """The name without a number after its last dot: mine.1 and mine.2 are seeds of the group mine."""
        stem, dot, seed = self.name.rpartition(".")
        return stem if dot and seed.isdigit() and stem else self.name

    def selection(self, features: str = "weighted") -> str:
        """The entry of the upstream's output that s3prl reads, its ``-s``."""
        return "paper" if self.baseline and features == "last" else "hidden_states"

    def flags(self, features: str = "weighted") -> list[str]:
        """Flags of run_downstream.py for the "weighted" sum of layers or the "last" (DistilHuBERT: student) layer."""
        checkpoint = [] if self.checkpoint is None else ["-k", str(self.checkpoint)]
        steps = [] if self.steps is None else ["--steps", str(self.steps)]
        last = ["-s", self.selection(features)] if self.baseline else ["-l", "-1"]
        return ["-u", self.upstream, *checkpoint, *steps, *(last if features == "last" else [])]

    def fingerprint(self) -> str:
        """Upstream, hash of the checkpoint if there is one, and number of steps if not all layers are generated."""
        if self.checkpoint is None:
            return self.upstream
        steps = "" if self.steps is None else f" steps {self.steps}"
        return f"{self.upstream} {files_hash(self.checkpoint)}{steps}"


def find_models(given: Sequence[str]) -> list[BenchmarkedModel]:
    """The models that ``--student`` names; UserError for a name that is taken or unfit, or a missing checkpoint."""
    models: dict[str, BenchmarkedModel] = {}
    for text in given:
        if not text.isprintable():
            raise UserError(f"--student {one_line(text)}: found control characters in it, expected NAME=CHECKPOINT")
        name, equals, source = text.partition("=")
        name, source = (name, source) if equals else (Path(text).name, text)
        if not NAME.fullmatch(name):
            expected = "letters, digits and . + - _, a letter or digit first, 100 at most"
            raise UserError(f"--student {one_line(text)}: found the name {one_line(name)}, expected {expected}")
        if name in models:
            raise UserError(f"--student {text}: the name {name} is taken; give each its own, as NAME=CHECKPOINT")
        models[name] = _stopped(name, source) or _find(name, source)
        checkpoint = models[name].checkpoint
        if checkpoint is not None:
            check_file(models[name].upstream, str(checkpoint), replace(STUDENT, checkpoint=f"--student {name}"))
    return list(models.values())


def _stopped(name: str, source: str) -> BenchmarkedModel | None:
    """The student of ``PATH@STEPS``, which generates its first layers only; None for another form."""
    path, _, steps = source.rpartition("@")
    if not path or not steps.isdigit() or existing_or_shipped(source).exists():
        return None
    model = _find(name, path)
    if model.checkpoint is None or model.baseline or model.upstream != OWN_UPSTREAM:
        raise UserError(f"--student {name}: found @{steps} after {path}, which is no GenDistiller; leave it out")
    check_steps(int(steps), model.checkpoint)
    return replace(model, steps=int(steps))


def _find(name: str, source: str) -> BenchmarkedModel:
    path = existing_or_shipped(source)
    if path.is_dir() and (path / "config.json").is_file():
        read_teacher_shape(path)  # raises for a folder of another kind
        return BenchmarkedModel(name, FOLDERS_ENTRY, path.absolute())
    if path.is_dir():
        newest = newest_checkpoint(path)
        if newest is None:
            raise UserError(f"--student {name}: {path} holds no whole states-*.ckpt and no config.json of transformers")
        path = newest
    if path.is_file():
        check_file(OWN_UPSTREAM, str(path), replace(STUDENT, checkpoint=f"--student {name}"))
        states = read_checkpoint(path, mmap=True)
        kind = student_kind(states, path)
        upstream = kind.upstream_for(states["Upstream_Config"]["student"])
        return BenchmarkedModel(name, upstream, path.absolute(), baseline=kind.heads)
    if not re.fullmatch(r"\w+", source):
        known = "a checkpoint of run_pretrain.py, a transformers folder, or the name of an s3prl upstream such as fbank"
        raise UserError(f"--student {name}: {source}: no such file or folder; expected {known}")
    return BenchmarkedModel(name, source)

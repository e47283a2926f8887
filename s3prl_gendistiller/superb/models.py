"""The models that can be benchmarked: a trained student, a transformers folder, or an s3prl upstream by name."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from s3prl_gendistiller.distill.transformers_teacher import read_teacher_shape
from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.host.checkpoint import newest_checkpoint, read_checkpoint, student_kind
from s3prl_gendistiller.host.feature_cache import files_hash
from s3prl_gendistiller.host.students import check_steps, is_exported, read_settings
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
HEAD_SEED = re.compile(r"(?P<distillation>.+)\+seed(?P<seed>\d+)")
"""Pattern of the name of a model whose heads have another seed than the suite's: mine+seed2, mine.2+seed3."""


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
    def head_seed(self) -> int | None:
        """The seed of the model's heads; None for the suite's own seed."""
        match = HEAD_SEED.fullmatch(self.name)
        return int(match["seed"]) if match else None

    @property
    def distillation(self) -> str:
        """The name without the seed of the heads: mine.2 and mine.2+seed3 are heads on one checkpoint."""
        match = HEAD_SEED.fullmatch(self.name)
        return match["distillation"] if match else self.name

    @property
    def group(self) -> str:
        """The student's name, without the number of a distillation and the seed of a head: mine of mine.2+seed3."""
        stem, dot, number = self.distillation.rpartition(".")
        return stem if dot and number.isdigit() and stem else self.distillation

    def with_head_seed(self, seed: int) -> BenchmarkedModel:
        return replace(self, name=f"{self.distillation}+seed{seed}")

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
    """The models that ``--student`` names; a name that comes again is another distillation: mine, mine.2, mine.3.

    Raises:
        UserError: a name is taken or unfit, a checkpoint is missing, or a checkpoint comes twice in one group.
    """
    models: dict[str, BenchmarkedModel] = {}
    given_names: list[str] = []
    for text in given:
        if not text.isprintable():
            raise UserError(f"--student {one_line(text)}: found control characters in it, expected NAME=CHECKPOINT")
        name, equals, source = text.partition("=")
        name, source = (name, source) if equals else (Path(text).name, text)
        if not NAME.fullmatch(name):
            expected = "letters, digits and . + - _, a letter or digit first, 100 at most"
            raise UserError(f"--student {one_line(text)}: found the name {one_line(name)}, expected {expected}")
        if HEAD_SEED.fullmatch(name):
            remedy = "give NAME=CHECKPOINT once, and the seeds of its heads with gendistiller superb --seeds"
            raise UserError(f"--student {text}: found the name {name}, which is kept for a seed of heads; {remedy}")
        given_names.append(name)
        first = models.get(name)
        if given_names.count(name) > 1:
            name = f"{name}.{given_names.count(name)}"
        model = _stopped(name, source) or _find(name, source)
        if name in models or (first is not None and not _same_kind(first, model)):
            remedy = "give each model its own, as NAME=CHECKPOINT; only distillations of one student may share a name"
            taken = name if name in models else given_names[-1]
            raise UserError(f"--student {text}: the name {taken} is taken; {remedy}")
        models[name] = model
        checkpoint = models[name].checkpoint
        if checkpoint is not None:
            check_file(models[name].upstream, str(checkpoint), replace(STUDENT, checkpoint=f"--student {name}"))
    found = list(models.values())
    if problems := [
        f"--student {one.name}: found the same model as {first.name}, expected another distillation; leave it out, "
        "and give gendistiller superb --seeds for several seeds of heads"
        for one, first in equal_models(found)
    ]:
        raise UserError("\n".join(problems))
    return found


def with_head_seeds(models: Sequence[BenchmarkedModel], seeds: Sequence[int], own: int) -> list[BenchmarkedModel]:
    """Each model once for each seed of heads; the name of a model with the suite's `own` seed stays as it is.

    Raises:
        UserError: a seed comes twice, or a name has no room for its seed.
    """
    if repeated := [str(seed) for seed, times in Counter(seeds).items() if times > 1]:
        raise UserError(
            f"gendistiller superb --seeds: found {', '.join(repeated)} more than once, expected different seeds"
        )
    ordered = sorted(seeds, key=lambda seed: seed != own)  # finished runs first, whose learning rates are known
    found = [model if seed == own else model.with_head_seed(seed) for model in models for seed in ordered]
    for model in found:
        if not NAME.fullmatch(model.name):
            raise UserError(f"--student {model.distillation}: found a name too long for its seeds; give a shorter one")
    return found


def equal_models(models: Sequence[BenchmarkedModel]) -> list[tuple[BenchmarkedModel, BenchmarkedModel]]:
    """Models that repeat an earlier model of their group: the same weights and the same seed of heads; each with it."""
    sizes = Counter((model.group, model.head_seed) for model in models)
    first: dict[tuple[str, int | None, str], BenchmarkedModel] = {}
    equal = []
    for model in models:
        if sizes[model.group, model.head_seed] > 1:  # the checkpoints of others need not be read
            earlier = first.setdefault((model.group, model.head_seed, _identity(model)), model)
            if earlier is not model:
                equal.append((model, earlier))
    return equal


def one_per_distillation(models: Sequence[BenchmarkedModel]) -> list[BenchmarkedModel]:
    """The first model of each distillation."""
    first: dict[str, BenchmarkedModel] = {}
    for model in models:
        first.setdefault(model.distillation, model)
    return list(first.values())


def _same_kind(one: BenchmarkedModel, other: BenchmarkedModel) -> bool:
    """Whether two models can be distillations of one student: both have a checkpoint of one kind."""
    kinds = [(model.upstream, model.baseline, model.steps) for model in (one, other) if model.checkpoint is not None]
    return len(kinds) == 2 and kinds[0] == kinds[1]


def _identity(model: BenchmarkedModel) -> str:
    """The fingerprint; for a checkpoint that is no longer there, which an old results.json may name, its path."""
    if model.checkpoint is not None and not model.checkpoint.exists():
        return f"{model.upstream} {model.checkpoint} {model.steps}"
    return model.fingerprint()


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
    if path.is_dir() and is_exported(path):
        return BenchmarkedModel(name, OWN_UPSTREAM, path.absolute(), baseline=read_settings(path).kind.heads)
    if path.is_dir() and (path / "config.json").is_file():
        read_teacher_shape(path)  # raises for a folder of another kind
        return BenchmarkedModel(name, FOLDERS_ENTRY, path.absolute())
    if path.is_dir():
        newest = newest_checkpoint(path)
        if newest is None:
            raise UserError(f"--student {name}: {path} holds no whole states-*.ckpt and no config.json")
        path = newest
    if path.is_file():
        check_file(OWN_UPSTREAM, str(path), replace(STUDENT, checkpoint=f"--student {name}"))
        states = read_checkpoint(path, mmap=True)
        kind = student_kind(states, path)
        upstream = kind.upstream_for(states["Upstream_Config"]["student"])
        return BenchmarkedModel(name, upstream, path.absolute(), baseline=kind.heads)
    if not re.fullmatch(r"\w+", source):
        known = (
            "a checkpoint of run_pretrain.py, the folder of a run, of an exported student or of transformers, or the "
        )
        known += "name of an s3prl upstream such as fbank"
        raise UserError(f"--student {name}: {source}: no such file or folder; expected {known}")
    return BenchmarkedModel(name, source)

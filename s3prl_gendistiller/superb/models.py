"""What can be benchmarked: a student's checkpoint, a transformers folder, or any upstream of s3prl by name."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from s3prl_gendistiller.distill.transformers_teacher import read_teacher_shape
from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.host.checkpoint import newest_checkpoint, read_checkpoint, student_kind
from s3prl_gendistiller.host.feature_cache import files_hash
from s3prl_gendistiller.host.generation import check_steps
from s3prl_gendistiller.host.upstream_files import check_file
from s3prl_gendistiller.host.upstreams import FOLDERS_ENTRY, STUDENT
from s3prl_gendistiller.shipped import existing_or_shipped
from s3prl_gendistiller.student_kinds import OWN_UPSTREAM
from s3prl_gendistiller.superb.checks import shown

SIGNALS = ("baseline", "spectrogram", "fbank", "fbank_no_cmvn", "mfcc", "mel", "linear", "stft_mag")
"""s3prl's upstreams without weights."""
FEATURES = ("weighted", "last")
NAME = re.compile(r"\w[\w.+-]{0,99}")
"""Of a student, which is also a folder."""


@dataclass(frozen=True)
class Student:
    """One row of the table.

    Attributes:
        name: the row; students whose names differ only after the last dot (mine.1, mine.2) are seeds of one kind.
        upstream: s3prl's ``-u``.
        checkpoint: s3prl's ``-k``; None for an upstream that needs none.
        steps: how many layers a GenDistiller generates; None for all.
        baseline: a DistilHuBERT, whose last hidden states are prediction heads.
        learned: whether it has weights, as hubert_base has and fbank has not; None where it was not loaded.
    """

    name: str
    upstream: str
    checkpoint: Path | None = None
    steps: int | None = None
    baseline: bool = False
    learned: bool | None = None

    @property
    def weights(self) -> bool:
        """Whether its features take longer to compute than to read."""
        return self.upstream not in SIGNALS if self.learned is None else self.learned

    @property
    def kind(self) -> str:
        """What the seeds of one kind have in common."""
        stem, dot, seed = self.name.rpartition(".")
        return stem if dot and seed.isdigit() and stem else self.name

    def selection(self, features: str = "weighted") -> str:
        """The entry of the upstream's output that is read, s3prl's ``-s``."""
        return "paper" if self.baseline and features == "last" else "hidden_states"

    def flags(self, features: str = "weighted") -> list[str]:
        """Flags of run_downstream.py.

        Args:
            features: "weighted", the weighted sum of the hidden states; or "last", the last of them (for
                DistilHuBERT the last student layer, as in its paper, and not a prediction head).
        """
        flags = ["-u", self.upstream]
        if self.checkpoint is not None:
            flags += ["-k", str(self.checkpoint)]
        if self.steps is not None:
            flags += ["--steps", str(self.steps)]
        if features == "last":
            flags += ["-s", self.selection(features)] if self.baseline else ["-l", "-1"]
        return flags

    def fingerprint(self) -> str:
        """The upstream, the hash of the content of its checkpoint if it has one, and the steps if not all."""
        if self.checkpoint is None:
            return self.upstream
        steps = "" if self.steps is None else f" steps {self.steps}"
        return f"{self.upstream} {files_hash(self.checkpoint)}{steps}"


def find_students(given: Sequence[str]) -> list[Student]:
    """Reads the values of ``--student``.

    Raises:
        UserError: a name is taken twice or unfit for a folder, or there is no such checkpoint or folder.
    """
    students: dict[str, Student] = {}
    for text in given:
        if not text.isprintable():
            raise UserError(f"--student {shown(text)}: found control characters in it, expected NAME=CHECKPOINT")
        name, equals, source = text.partition("=")
        name, source = (name, source) if equals else (Path(text).name, text)
        if not NAME.fullmatch(name):
            raise UserError(
                f"--student {shown(text)}: found the name {shown(name)}, expected letters, digits and . + - _, a "
                "letter or digit first, 100 at most"
            )
        if name in students:
            raise UserError(
                f"--student {text}: the name {name} is taken; give each student its own, as NAME=CHECKPOINT"
            )
        students[name] = _stopped(name, source) or _find(name, source)
        checkpoint = students[name].checkpoint
        if checkpoint is not None:
            check_file(students[name].upstream, str(checkpoint), replace(STUDENT, checkpoint=f"--student {name}"))
    return list(students.values())


def _stopped(name: str, source: str) -> Student | None:
    """A student of which only the first layers are generated: ``PATH@STEPS``."""
    path, _, steps = source.rpartition("@")
    if not path or not steps.isdigit() or existing_or_shipped(source).exists():
        return None
    student = _find(name, path)
    if student.checkpoint is None or student.baseline or student.upstream != OWN_UPSTREAM:
        raise UserError(f"--student {name}: found @{steps} after {path}, which is no GenDistiller; leave it out")
    check_steps(int(steps), student.checkpoint)
    return replace(student, steps=int(steps))


def _find(name: str, source: str) -> Student:
    path = existing_or_shipped(source)
    if path.is_dir() and (path / "config.json").is_file():
        read_teacher_shape(path)  # refuses what is none
        return Student(name, FOLDERS_ENTRY, path.absolute())
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
        return Student(name, upstream, path.absolute(), baseline=kind.heads)
    if not re.fullmatch(r"\w+", source):
        raise UserError(
            f"--student {name}: {source}: no such file or folder; expected a checkpoint of run_pretrain.py, a "
            "transformers folder, or the name of an s3prl upstream such as fbank"
        )
    return Student(name, source)

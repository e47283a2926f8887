"""What every format writes of a student: its weights, the settings that build it, and its card."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from s3prl_gendistiller._version import __version__
from s3prl_gendistiller.config import ModelConfig
from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.host.checkpoint import read_checkpoint, student_kind
from s3prl_gendistiller.host.students import check_steps, load_student
from s3prl_gendistiller.models.student import Student
from s3prl_gendistiller.models.upstream import WEIGHTS
from s3prl_gendistiller.outputs import atomic_folder
from s3prl_gendistiller.schema import to_dict
from s3prl_gendistiller.student_kinds import StudentKind, read_model_config

README = "README.md"


@dataclass(frozen=True)
class StudentFiles:
    """A trained student as a folder holds it.

    Attributes:
        config: the sections that build the student, without paths of this machine.
        steps: number of layers that are generated unless the user asks for another number; None for all.
    """

    student: Student
    kind: StudentKind
    config: dict[str, Any]
    steps: int | None

    @property
    def model_config(self) -> ModelConfig:
        return read_model_config(self.kind.name, self.config)

    @property
    def weights(self) -> dict[str, Tensor]:
        return {name: value.contiguous() for name, value in self.student.stored_module.state_dict().items()}

    def settings(self, form: str, **more: Any) -> dict[str, Any]:
        """The content of config.json in the folder of a format."""
        package = f"s3prl-gendistiller {__version__}"
        return {
            **{"package": package, "format": form, "task": self.kind.name, "steps": self.steps, "config": self.config},
            **more,
        }


def read_student(checkpoint: Path, steps: int | None) -> StudentFiles:
    """The student of a checkpoint.

    Raises:
        UserError: the checkpoint cannot be used, or the student generates fewer than `steps` layers.
    """
    check_steps(steps, checkpoint)
    student = load_student(checkpoint)
    states = read_checkpoint(checkpoint, mmap=True)
    kind = student_kind(states, checkpoint)
    return StudentFiles(student, kind, _portable(read_model_config(kind.name, states["Upstream_Config"])), steps)


def write_folder(folder: Path, content: str, texts: Mapping[str, str], weights: Mapping[str, Tensor]) -> list[Path]:
    """A new folder with text files and with weights, whole or not at all; the files' names below the folder.

    Raises:
        UserError: the folder, which is for `content`, exists or cannot be written.
    """
    with atomic_folder(folder, content) as partial:
        for name, text in texts.items():
            path = partial / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        try:
            save_file(dict(weights), partial / WEIGHTS, metadata={"format": "pt"})
        except SafetensorError as error:  # such as of a full disk
            raise UserError(f"{folder}: cannot be written ({error}); choose another place") from error
    return sorted(map(Path, [*texts, WEIGHTS]))


def as_json(content: Mapping[str, Any]) -> str:
    return json.dumps(content, indent=2) + "\n"


def _portable(config: ModelConfig) -> dict[str, Any]:
    """The keys that build the student, and those that must fit them, without paths of this machine."""
    content, teacher = to_dict(config), config.teacher
    named = {"folder": Path(teacher.folder).name} if teacher.folder is not None else {"upstream": teacher.upstream}
    targets = {"target_layers": content["distill"]["target_layers"]}
    kept = {name: content[name] for name in ("student", "warm_start")}
    return {"teacher": named, **kept, "distill": targets}

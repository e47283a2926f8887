"""A student's weights and settings without code, for programs that have this package: ``load_student(FOLDER)``."""

from __future__ import annotations

from pathlib import Path

from s3prl_gendistiller._version import __version__
from s3prl_gendistiller.export.card import Card, render
from s3prl_gendistiller.export.student_files import README, as_json, read_student, write_folder
from s3prl_gendistiller.models.upstream import CONFIG


def write_safetensors(checkpoint: Path, folder: Path, card: Card, steps: int | None = None) -> list[Path]:
    """Writes config.json, model.safetensors and the model card.

    Args:
        folder: a new folder, which appears only when it is complete; the returned files are relative to it.
        steps: number of layers that `generate` gives unless a call gives another number; None for all.

    Raises:
        UserError: the folder exists, the checkpoint cannot be used, or the student generates fewer layers.
    """
    files = read_student(checkpoint, steps)
    texts = {
        CONFIG: as_json(files.settings("safetensors")),
        README: render(card, files.model_config, steps, __version__, form="safetensors"),
    }
    return write_folder(folder, "the student", texts, files.weights)

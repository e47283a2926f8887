"""Paths in configurations: `${SUPERB_DATA}`, the one folder that holds the corpora by their official names."""

from __future__ import annotations

import dataclasses
import os
import re
from pathlib import Path
from typing import Any

from s3prl_gendistiller.config_objectives import ObjectiveConfig
from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.shipped import existing_or_shipped
from s3prl_gendistiller.spellings import LIBRI_ROOT, ROOT

VARIABLE = "SUPERB_DATA"
RESOLVED_CONFIG = "config_resolved.yaml"  # in a run's folder: the configuration with its paths filled in
_HINT = "`gendistiller corpus DIR` writes a small one for every task"
_REFERENCE = re.compile(r"\$\{(\w+)\}")


def teacher_folder(given: str) -> Path:
    """The folder that `teacher.folder` names: a path, which may hold variables, or a shipped teacher."""
    return existing_or_shipped(expand(given, "teacher.folder"))


def speech_folders(root: str, file_path: str) -> tuple[str, Path]:
    """The folders of audio and of manifests that `pretrain_expert.datarc` names, expanded."""
    named = ((f"{ROOT} (or {LIBRI_ROOT})", root), ("file_path", file_path))
    audio, manifests = (expand(text, f"pretrain_expert.datarc.{key}") for key, text in named)
    return audio, Path(manifests)


def expand(text: str, key: str, *, here: Path | None = None, must_exist: bool = True) -> str:
    """Fills in ``${SUPERB_DATA}`` (environment), ``${HERE}`` (folder of the configuration file) and ``~`` (home).

    Args:
        text: value of a configuration.
        key: full key of the value, for the message.
        here: folder for ``${HERE}``.
        must_exist: refuse a path with a variable that names no file or folder.

    Raises:
        UserError: the variable is unset or unknown, or the path does not exist.
    """
    names = _REFERENCE.findall(text)
    if not names:
        return os.path.expanduser(text) if text.startswith("~/") else text
    values = {"HERE": None if here is None else str(here), VARIABLE: os.environ.get(VARIABLE) or None}
    for name in names:
        if name not in values:
            raise UserError(f"{key}: found ${{{name}}} in {text!r}, expected ${{{VARIABLE}}} or ${{HERE}}")
        if values[name] is None:
            folder = text.replace(f"${{{name}}}", f"${name}")
            raise UserError(
                f"{key}: the environment variable {name} is not set; expected a folder such that {folder} exists; "
                f"set it (export {name}=/path/to/corpora); {_HINT}"
            )
    path = _REFERENCE.sub(lambda match: str(values[match.group(1)]), text)
    if must_exist and not os.path.exists(path):
        raise UserError(
            f"{key}: looked for {os.path.abspath(path)} (from {text}), which is not there; {VARIABLE} is "
            f"{os.environ.get(VARIABLE)!r} and must hold the corpora by their official names, such as LibriSpeech; "
            f"{_HINT}"
        )
    return os.path.abspath(path)


def with_absolute_files(objective: ObjectiveConfig) -> ObjectiveConfig:
    """An objective whose files are absolute paths, with their variables filled in; UserError as `expand`."""
    given: dict[str, Any] = {key: path for key in objective.files if (path := getattr(objective, key)) is not None}
    for key, path in given.items():
        given[key] = os.path.abspath(expand(path, f"objectives: {objective.name}: {key}"))
    return dataclasses.replace(objective, **given)


def expand_tree(content: Any, key: str, *, here: Path, must_exist: bool = True) -> Any:
    """Applies `expand` to every text in nested mappings and lists; keeps other values."""

    def inside(value: Any, name: str) -> Any:
        return expand_tree(value, name, here=here, must_exist=must_exist)

    if isinstance(content, dict):
        return {name: inside(value, f"{key}.{name}".lstrip(".")) for name, value in content.items()}
    if isinstance(content, list):
        return [inside(value, f"{key}[{index}]") for index, value in enumerate(content)]
    return expand(content, key, here=here, must_exist=must_exist) if isinstance(content, str) else content


def from_here(path: Path) -> str:
    """A path relative to the working folder if it lies in it, else absolute."""
    whole = Path(os.path.abspath(path))
    return os.path.relpath(whole) if whole.is_relative_to(Path.cwd()) else str(whole)

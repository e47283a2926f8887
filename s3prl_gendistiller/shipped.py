"""The shipped folders: beside the package in a checkout, inside the package in a wheel (see `setup.py`)."""

from __future__ import annotations

import os
from pathlib import Path

from s3prl_gendistiller.errors import UserError

PACKAGE_DIR = Path(__file__).resolve().parent
SHIPPED_FOLDERS = ("upstream", "pretrain_configs", "downstream_runs", "teachers")


def shipped_folder(name: str) -> Path:
    """The absolute path of one of `SHIPPED_FOLDERS`.

    Raises:
        UserError: the installation lacks the folder.
    """
    if name not in SHIPPED_FOLDERS:
        raise ValueError(f"{name!r} is not a shipped folder; expected one of {', '.join(SHIPPED_FOLDERS)}")
    # Inside first: site-packages may hold a foreign top-level `upstream`, a checkout never holds `_shipped`.
    candidates = (PACKAGE_DIR / "_shipped" / name, PACKAGE_DIR.parent / name)
    for folder in candidates:
        if folder.is_dir():
            return folder
    raise UserError(
        f"{name}: no such folder in this installation of s3prl-gendistiller (looked for "
        f"{candidates[0]} and {candidates[1]}); install it again with pip, or run from a complete checkout"
    )


def existing_or_shipped(given: str | Path) -> Path:
    """The given path; if it does not exist, the shipped file or folder of that name.

    Args:
        given: such as ``teachers/hubert_guided``, which names the same folder in any working directory. ``~`` is the
            home folder, also in a configuration and after NAME=, where no shell expands it.
    """
    given = Path(os.path.expanduser(given))
    inside = None if given.exists() else _inside(given)
    return given if inside is None else inside


def is_shipped(given: str | Path) -> bool:
    """Whether a relative path names something shipped and no other existing file."""
    inside = _inside(Path(given))
    return inside is not None and (not Path(given).exists() or inside.samefile(given))


def _inside(given: Path) -> Path | None:
    if given.parts[:1] == ("downstream",):  # as s3prl's documentation names its files
        given = Path("downstream_runs", *given.parts[1:])
    if given.is_absolute() or not given.parts or given.parts[0] not in SHIPPED_FOLDERS:
        return None
    inside = shipped_folder(given.parts[0]).joinpath(*given.parts[1:])
    return inside if inside.exists() else None

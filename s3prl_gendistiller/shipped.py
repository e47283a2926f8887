"""Where the shipped folders are: beside the package in a checkout, inside it in a wheel (see `setup.py`)."""

from __future__ import annotations

from pathlib import Path

from s3prl_gendistiller.errors import UserError

PACKAGE_DIR = Path(__file__).resolve().parent
SHIPPED_FOLDERS = ("upstream", "pretrain_configs", "downstream_runs")


def shipped_folder(name: str) -> Path:
    """The absolute path of one shipped folder.

    Args:
        name: ``upstream``, ``pretrain_configs`` or ``downstream_runs``.

    Raises:
        ValueError: `name` is none of these.
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

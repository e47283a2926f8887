"""Finds the installed s3prl without importing it, and checks its version."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path

from packaging.specifiers import SpecifierSet
from packaging.version import InvalidVersion, Version

from s3prl_gendistiller.errors import UserError

SUPPORTED = ">=0.4.15,<0.5"  # tested with 0.4.18
REMEDY = "pip install s3prl==0.4.18"
HOST_FILES = ("hub.py", "run_downstream.py", "version.txt")


@dataclass(frozen=True)
class Host:
    """The s3prl that `import s3prl` finds: folder with run_downstream.py and hub.py, and text of version.txt."""

    package: Path
    version: str


def find_host() -> Host:
    """Finds s3prl on `sys.path`; UserError if it is missing, or its version is not `SUPPORTED`."""
    folders = _package_folders()
    whole = [folder for folder in folders if is_host_package(folder)]
    if not whole:
        found = f"only {folders[0]}, without {', '.join(HOST_FILES)}" if folders else "nothing on sys.path"
        raise UserError(f"s3prl: found {found}; expected version {SUPPORTED}; {REMEDY}")
    package = whole[0]
    version = (package / "version.txt").read_text(encoding="utf-8").strip()
    if not is_supported(version):
        raise UserError(f"s3prl: found version {version} in {package}; expected {SUPPORTED}; {REMEDY}")
    return Host(package=package, version=version)


def is_host_package(folder: Path) -> bool:
    """Whether the folder is s3prl's package folder."""
    return all((folder / name).is_file() for name in HOST_FILES)


def is_checkout(package: Path) -> bool:
    """Whether s3prl's package folder lies in a source tree instead of among installed packages."""
    return (package.parent / ".git").exists() or (package.parent / "setup.py").is_file()


def _package_folders() -> list[Path]:
    try:
        spec = importlib.util.find_spec("s3prl")
    except ValueError:  # a module object without a spec, put into sys.modules by hand
        return []
    locations = spec.submodule_search_locations if spec is not None else None
    return [Path(location).resolve() for location in locations or []]


def is_supported(version: str) -> bool:
    """Whether a version of s3prl, as its version.txt states it, is in `SUPPORTED`."""
    try:
        return SpecifierSet(SUPPORTED).contains(Version(version), prereleases=True)
    except InvalidVersion:
        return False

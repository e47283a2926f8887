"""The package as a user has it: a wheel, installed into an environment of its own, away from the checkout."""

from __future__ import annotations

import shutil
import subprocess
import sys
import venv
from dataclasses import dataclass
from pathlib import Path

import pytest

from s3prl_gendistiller.shipped import SHIPPED_FOLDERS

ROOT = Path(__file__).resolve().parents[1]
CARRIED = ("s3prl_gendistiller", *SHIPPED_FOLDERS)


@dataclass(frozen=True)
class Installation:
    """An environment with the wheel and the packages of this interpreter, and an empty home."""

    folder: Path
    home: Path

    def shell(self, script: str, cwd: Path, timeout: int = 300) -> subprocess.CompletedProcess[str]:
        """Runs lines of a user's shell, with no variable of this process."""
        environment = {"PATH": f"{self.folder / 'bin'}:/usr/bin:/bin", "HOME": str(self.home), "OMP_NUM_THREADS": "1"}
        command = ["bash", "-euo", "pipefail", "-c", script]
        return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=timeout)


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel built from a copy of the sources, so that the build leaves nothing in the checkout."""
    copy = tmp_path_factory.mktemp("source")
    for name in CARRIED:
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.py", "pyproject.toml", "LICENSE", "README.md", "run_pretrain.py", "run_downstream.py"):
        if (ROOT / name).is_file():
            shutil.copy(ROOT / name, copy)
    out = tmp_path_factory.mktemp("wheel")
    _pip("wheel", "--no-deps", "--no-build-isolation", "-w", out, ".", cwd=copy)
    (found,) = out.glob("*.whl")
    return found


@pytest.fixture(scope="session")
def installation(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installation:
    folder = tmp_path_factory.mktemp("user") / "environment"
    venv.create(folder, symlinks=True)
    _pip("--python", folder / "bin" / "python", "install", "--no-deps", "--no-index", wheel, cwd=folder)
    (packages,) = folder.glob("lib/python*/site-packages")
    others = [path for path in sys.path if Path(path).name in ("site-packages", "dist-packages")]
    (packages / "packages_of_the_tests.pth").write_text("\n".join(others) + "\n")
    home = folder.parent / "home"
    home.mkdir()
    installation = Installation(folder, home)
    where = installation.shell("python -c 'import s3prl_gendistiller as ours; print(ours.__file__)'", home).stdout
    assert where.strip() == str(packages / "s3prl_gendistiller" / "__init__.py")
    return installation


def _pip(*arguments: str | Path, cwd: Path) -> None:
    command = [sys.executable, "-m", "pip", *map(str, arguments)]
    answer = subprocess.run(command, cwd=cwd, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stdout + answer.stderr

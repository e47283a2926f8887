"""The built wheel: it holds the shipped folders, finds them from anywhere, and declares what it needs."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import zipfile
from email.message import Message
from email.parser import Parser
from pathlib import Path

import pytest

from s3prl_gendistiller import __version__
from s3prl_gendistiller.shipped import SHIPPED_FOLDERS
from s3prl_gendistiller.superb.tasks import TASKS

ROOT = Path(__file__).resolve().parents[1]
# The host's launchers put its folder on the path: these are its modules, not distributions.
HOST_MODULES = {"s3prl", "s3prl_gendistiller", "pretrain", "downstream", "upstream", "dataset", "optimizers"}
HOST_MODULES |= {"schedulers", "utility", "hub"}
DISTRIBUTIONS = {"yaml": "pyyaml", "espeakng_loader": "espeakng-loader", "sklearn": "scikit-learn"}
DISTRIBUTIONS |= {"vl_convert": "vl-convert-python"}


def source_files(folder: Path) -> set[str]:
    """The files of one folder, relative to the repository, without what Python leaves behind."""
    return {
        path.relative_to(ROOT).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


@pytest.fixture(scope="module")
def unpacked(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("unpacked")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


@pytest.fixture(scope="module")
def metadata(unpacked: Path) -> Message:
    (found,) = unpacked.glob("*.dist-info/METADATA")
    return Parser().parsestr(found.read_text(encoding="utf-8"))


def test_every_file_of_the_package_reaches_the_wheel(unpacked: Path) -> None:
    expected = source_files(ROOT / "s3prl_gendistiller")
    assert {name for name in expected if not (unpacked / name).is_file()} == set()
    assert "s3prl_gendistiller/py.typed" in expected


@pytest.mark.parametrize("folder", SHIPPED_FOLDERS)
def test_every_file_of_a_shipped_folder_reaches_the_wheel(unpacked: Path, folder: str) -> None:
    expected = source_files(ROOT / folder)
    assert expected, f"{folder}/ holds no file"
    shipped = unpacked / "s3prl_gendistiller" / "_shipped"
    assert {name for name in expected if not (shipped / name).is_file()} == set()


def test_the_wheel_puts_one_name_on_the_path(unpacked: Path) -> None:
    assert sorted(path.name for path in unpacked.iterdir() if path.suffix not in (".dist-info", ".data")) == [
        "s3prl_gendistiller"
    ]


@pytest.mark.parametrize("folder", SHIPPED_FOLDERS)
def test_an_installed_package_finds_its_folders_from_anywhere(unpacked: Path, folder: str, tmp_path: Path) -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(unpacked)!r})\n"
        "from s3prl_gendistiller.shipped import shipped_folder\n"
        f"print(shipped_folder({folder!r}))"
    )
    command = [sys.executable, "-I", "-c", code]
    found = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert Path(found.stdout.strip()) == unpacked / "s3prl_gendistiller" / "_shipped" / folder


def test_the_wheel_states_the_version_of_the_package(metadata: Message) -> None:
    assert metadata["Name"] == "s3prl-gendistiller"
    assert metadata["Version"] == __version__


def test_the_oldest_stack_is_made_of_the_lower_bounds(metadata: Message) -> None:
    requires = metadata.get_all("Requires-Dist") or []
    bounds = {found[1].lower(): found[2] for line in requires if (found := re.match(r"([\w.-]+)[^;]*>=([\d.]+)", line))}
    pinned = dict(
        re.findall(r"^([\w.-]+)==([\d.]+)$", (ROOT / "stacks" / "oldest.txt").read_text().lower(), re.MULTILINE)
    )
    assert bounds.keys() == pinned.keys()
    assert {name for name in bounds if not (pinned[name] + ".0.0").startswith(bounds[name] + ".")} == set()


def test_the_host_is_bounded_above_and_python_on_both_sides(metadata: Message) -> None:
    requires = metadata.get_all("Requires-Dist") or []
    assert "s3prl<0.5,>=0.4.15" in requires
    assert set(metadata["Requires-Python"].split(",")) == {">=3.10", "<3.13"}


def test_there_is_an_extra_per_superb_task_and_all_of_them_together(metadata: Message) -> None:
    extras = set(metadata.get_all("Provides-Extra") or [])
    assert extras >= {*TASKS, "superb", "corpus", "units", "board", "dev", "all"}


def test_the_console_command_is_there(unpacked: Path) -> None:
    (entry_points,) = unpacked.glob("*.dist-info/entry_points.txt")
    assert "gendistiller = s3prl_gendistiller.cli:main" in entry_points.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["run_pretrain.py", "run_downstream.py"])
def test_the_launchers_are_scripts_that_pip_gives_its_interpreter(unpacked: Path, name: str) -> None:
    (script,) = unpacked.glob(f"*.data/scripts/{name}")
    assert script.read_text(encoding="utf-8").startswith("#!python\n")  # pip replaces this line, and no other


def test_the_licence_travels(unpacked: Path) -> None:
    (licence,) = unpacked.glob("*.dist-info/**/LICENSE")
    assert "Apache License" in licence.read_text(encoding="utf-8")


def test_everything_that_the_package_imports_is_declared(metadata: Message) -> None:
    tests_only = re.compile(r"extra == .(dev|all).")
    requires = [line for line in metadata.get_all("Requires-Dist") or [] if not tests_only.search(line)]
    declared = {re.split(r"[^\w-]", line)[0].lower().replace("_", "-") for line in requires}
    imported = set()
    for path in (ROOT / "s3prl_gendistiller").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                imported |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                imported.add(node.module.split(".")[0])
    foreign = imported - set(sys.stdlib_module_names) - HOST_MODULES
    assert {DISTRIBUTIONS.get(name, name).lower().replace("_", "-") for name in foreign} - declared == set()

"""The shape of the house: which room may import which, who may touch globals, how long a file may be."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from docs.architecture import PACKAGE, ROOT, dotted, imported

MODULES = sorted((ROOT / PACKAGE).rglob("*.py"))
ROOMS = (PACKAGE, "upstream", "pretrain_configs", "downstream_runs", "teachers", "tests", "docs", "benchmarks")
LINES_AT_MOST = 300


def sources(root: Path) -> list[Path]:
    """The files that git tracks below a folder; where there is no git, those of `ROOMS` and the texts beside them."""
    listed = None
    if shutil.which("git") and (root / ".git").exists():
        listed = subprocess.run(["git", "ls-files", "-z"], cwd=root, capture_output=True)
    if listed is not None and listed.returncode == 0:
        found = [root / os.fsdecode(name) for name in listed.stdout.split(b"\0") if name]
    else:
        found = [path for room in ROOMS for path in (root / room).rglob("*")]
        found += [path for path in root.iterdir() if path.suffix in (".py", ".md", ".toml", ".txt")]
    return sorted(path for path in found if path.is_file() and "__pycache__" not in path.parts)


SOURCES = sources(ROOT)

# What each room may import of the package, besides itself: rooms by name, single modules by dotted name.
_CONFIGURATION = {"documents", "schema", "schema_values", "config", "student_kinds", "forms", "front_ends", "spellings"}
_CONFIGURATION |= {"installed_objectives"}
_CONFIGURATION |= {f"config_{part}" for part in ("gendistiller", "distilhubert", "objectives", "optimizer", "runner")}
GROUND = _CONFIGURATION | {"errors", "shipped", "outputs", "_version"}
MAY_IMPORT: dict[str, set[str]] = {
    "_version": set(),
    "errors": set(),
    "documents": {"errors", "shipped"},
    "schema": {"documents", "errors", "front_ends", "schema_values", "shipped", "spellings"},
    "schema_values": set(),
    "config_objectives": {"schema", "installed_objectives"},
    "installed_objectives": {"errors"},
    "config_optimizer": {"schema"},
    "forms": set(),
    "front_ends": set(),
    "spellings": set(),
    "config_runner": {"schema", "spellings", "config_optimizer"},
    "config": {"schema", "config_objectives", "front_ends"},
    "config_gendistiller": {"config", "config_objectives", "forms", "schema"},
    "config_distilhubert": {"config", "schema"},
    "student_kinds": {"errors", "front_ends", "schema", "config", "config_gendistiller", "config_distilhubert"},
    "shipped": {"errors"},
    "outputs": {"errors"},
    "formats": {"errors", "distill.audio", "distill.files"},
    "models": GROUND,
    "distill": GROUND | {"models"},
    "corpora": {
        "documents",
        "errors",
        "formats",
        "outputs",
        "distill.audio",
        "distill.files",
        "distill.manifest",
        "distill.processes",
    },
    "host": GROUND | {"models", "distill", "formats"},
    "inference": GROUND | {"models", "distill", "formats", "host"},
    "superb": GROUND | {"models", "distill", "formats", "host"},
    "export": GROUND | {"models", "distill", "host", "inference"},
    "integrations": GROUND | {"models", "host"},
    "cli": GROUND | {"", "models", "distill", "corpora", "host", "superb", "export", "inference"},
    "": GROUND | {"models", "distill", "host"},  # the package's public face
    "transformers": {"host", "export"},  # public too: registers the students with transformers
    "compat": {"host"},  # public too: a user's script begins with it
    "s3prl": {"errors", "host"},  # the same, for s3prl's own interface
    "__main__": {"cli", "host"},
}
# The host, its launchers' top-level names, and the library that only works once host/compat.py has seen it.
HOST_NAMES = {"s3prl", "torchaudio", "catalyst", "pretrain", "downstream", "upstream"}
FOREIGN = HOST_NAMES | {"torch", "transformers", "huggingface_hub", "builtins", "sys"}
CHANGING = {"setdefault", "update", "pop", "insert", "append", "extend", "remove", "clear"}
MAY_TOUCH_GLOBALS = re.compile(r"/host/(compat[^/]*\.py|compat/.*|shims/.*|mount\.py)$")


def label(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def imports(path: Path) -> Iterator[str]:
    """The absolute dotted name of everything that a file imports."""
    inside = (PACKAGE, *path.relative_to(ROOT / PACKAGE).parent.parts)
    return imported(ast.parse(path.read_text(encoding="utf-8")), inside)


def may_import(room: str, name: str) -> bool:
    """Whether a room of the package may import `name`, a dotted name below the package."""
    parts = name.split(".")
    target = parts[0] if (ROOT / PACKAGE / parts[0]).is_dir() or parts[0] in MAY_IMPORT else ""
    return target == room or target in MAY_IMPORT[room] or ".".join(parts[:2]) in MAY_IMPORT[room]


def touched_globals(text: str) -> list[int]:
    """The lines that change something of a foreign module, or the interpreter's modules and search paths."""
    tree = ast.parse(text)
    foreign = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [(alias.asname or alias.name.split(".")[0], alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names = [(alias.asname or alias.name, node.module or "") for alias in node.names]
        else:
            continue
        foreign |= {bound for bound, origin in names if origin.split(".")[0] in FOREIGN}
    found = set()
    for node in ast.walk(tree):
        for root, *attributes in _changed(node):
            # sys.argv is a launcher's to set: the host's scripts read their command line from it
            if root in foreign and (root != "sys" or attributes[:1] != ["argv"]):
                found.add(node.lineno)
    return sorted(found)


def _changed(node: ast.AST) -> Iterator[list[str]]:
    """The dotted names, as parts, of every attribute or item that a statement or call changes."""
    targets: list[ast.expr] = []
    if isinstance(node, (ast.Assign, ast.Delete)):
        targets = [item for target in node.targets for item in getattr(target, "elts", [target])]
    elif isinstance(node, (ast.AugAssign, ast.AnnAssign)):
        targets = [node.target]
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.args:
        if node.func.id in ("setattr", "delattr"):
            yield _parts(node.args[0])
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in CHANGING:
        yield _parts(node.func)[:-1]
    yield from (_parts(target) for target in targets if isinstance(target, (ast.Attribute, ast.Subscript)))


def _parts(node: ast.expr) -> list[str]:
    parts: list[str] = []
    while isinstance(node, (ast.Attribute, ast.Subscript)):
        if isinstance(node, ast.Attribute):
            parts.append(node.attr)
        node = node.value
    return [node.id if isinstance(node, ast.Name) else "", *reversed(parts)]


def test_there_are_modules_to_look_at() -> None:
    assert len(MODULES) > 10
    assert {dotted(path)[0] for path in MODULES if dotted(path)} >= {
        "config",
        "models",
        "distill",
        "host",
        "cli",
    }


@pytest.mark.parametrize("path", MODULES, ids=label)
def test_imports_point_downwards(path: Path) -> None:
    room = (dotted(path) or ("",))[0]
    assert room in MAY_IMPORT, f"{label(path)}: a new room; say in MAY_IMPORT what it may import"
    below = [name.partition(".")[2] for name in imports(path) if name.split(".")[0] == PACKAGE]
    assert [name for name in below if not may_import(room, name)] == []


TASK_FILES = [path for path in MODULES if dotted(path)[:2] == ("superb", "tasks")]


@pytest.mark.parametrize("path", TASK_FILES, ids=label)
def test_a_task_knows_neither_the_suite_nor_the_host(path: Path) -> None:
    known = ("errors.", "outputs.", "distill.", "formats.", "superb.tasks.", "superb.checks.")
    known += ("superb.corpus.sizes.", "superb.corpus.origins")
    below = [name.partition(".")[2] for name in imports(path) if name.split(".")[0] == PACKAGE]
    assert [name for name in below if not name.startswith(known)] == []


@pytest.mark.parametrize("path", [path for path in MODULES if dotted(path)[:1] != ("host",)], ids=label)
def test_only_the_host_room_knows_s3prl_and_torchaudio(path: Path) -> None:
    assert [name for name in imports(path) if name.split(".")[0] in HOST_NAMES] == []


@pytest.mark.parametrize("path", [path for path in MODULES if not MAY_TOUCH_GLOBALS.search(label(path))], ids=label)
def test_globals_are_touched_in_compat_and_mount_only(path: Path) -> None:
    assert touched_globals(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "line",
    [
        "import torchaudio; torchaudio.info = None",
        "import s3prl.hub; s3prl.hub.mine = print",
        "from s3prl import hub; hub.mine = print",
        "import s3prl.hub as hub; setattr(hub, 'mine', print)",
        "import sys; sys.modules['catalyst'] = None",
        "import sys; sys.modules.setdefault('catalyst', None)",
        "import sys; sys.path.insert(0, '.')",
        "import torch; torch.load = None",
        "def f():\n    import builtins\n    builtins.isinstance, x = None, 1",
        "import huggingface_hub as h; del h.HfApi",
    ],
)
def test_a_touched_global_is_seen(line: str) -> None:
    assert touched_globals(line)


@pytest.mark.parametrize(
    "line",
    ["import torch; x = torch.zeros(1); x[0] = 1", "self.model = 1", "import sys; paths = [*sys.path]"],
)
def test_an_ordinary_assignment_is_not_taken_for_a_touched_global(line: str) -> None:
    assert touched_globals(line) == []


def test_upstream_has_no_init_file_at_its_top() -> None:
    assert (ROOT / "upstream").is_dir()
    assert not (ROOT / "upstream" / "__init__.py").exists()  # it would shadow the host's package `upstream`


@pytest.mark.parametrize("path", [path for path in SOURCES if path.suffix == ".py"], ids=label)
def test_no_file_is_longer_than_it_can_be_read(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= LINES_AT_MOST


def test_no_path_of_a_machine_stands_in_the_tree() -> None:
    homes = re.compile(rb"(?<![\w.~-])/(?:" + b"|".join([b"work", b"root", b"opt/pypi", b"opt/wheels"]) + rb")/")
    assert [label(path) for path in SOURCES if homes.search(path.read_bytes())] == []


def test_files_that_are_not_the_repositorys_are_not_looked_at(tmp_path: Path) -> None:
    def found() -> list[str]:
        return [path.relative_to(tmp_path).as_posix() for path in sources(tmp_path)]

    (tmp_path / "docs").mkdir()
    for name in ("setup.py", "docs/page.md", "demo.log"):
        (tmp_path / name).touch()
    assert found() == ["docs/page.md", "setup.py"]  # no git, as in a source archive
    for command in (["init", "-q"], ["add", "docs"]):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    assert found() == ["docs/page.md"]


@pytest.mark.parametrize("folder", ["pretrain_configs", "downstream_runs"])
def test_a_folder_of_configs_holds_configs(folder: str) -> None:
    assert sorted((ROOT / folder).rglob("*.yaml"))

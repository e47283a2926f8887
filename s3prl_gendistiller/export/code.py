"""Copies of this package's modules that lie in the folder of a student, so that nobody needs this package to use it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from s3prl_gendistiller._version import __version__

PACKAGE = "s3prl_gendistiller"
PART = "part_"  # begins the names of modules that lie beside each other
HERE = Path(__file__).parent

_IMPORT = re.compile(rf"^(\s*(?:from|import) ){PACKAGE}\b", flags=re.MULTILINE)
_IMPORT_FROM = re.compile(rf"^(\s*)from {PACKAGE}\.([\w.]+) import ", flags=re.MULTILINE)
_OWN_NAMES = ("configuration_gendistiller", "modeling_gendistiller")  # as transformers' own models name them
_NAMED = re.compile(r'"\.([a-z_]+(?:\.[a-z_]+)+)([":])')  # a module relative to the package, in a table: ".models.mel"
HEAD = f'"""The modules of s3prl-gendistiller {__version__} that its students are made of; Apache License 2.0."""\n'


def needed_modules(starts: Iterable[Path], named: Iterable[str]) -> list[Path]:
    """Modules of this package that `starts` import, those that are `named` (".models.mel"), and what these import."""
    found = {_module_file(name[1:]) for name in named if name.startswith(".")}
    waiting = [*starts, *found]
    while waiting:
        for path in _imported(waiting.pop()):
            if path not in found:
                found.add(path)
                waiting.append(path)
    return sorted(found)


def packaged(modules: Iterable[Path], package: str) -> dict[str, str]:
    """The modules below a package of another name: file name -> text."""
    modules = set(modules)
    modules |= {path.parent / "__init__.py" for path in modules if path.parent != HERE.parent}
    files = {f"{package}/{path.relative_to(HERE.parent).as_posix()}": renamed(path, package) for path in modules}
    return {f"{package}/__init__.py": HEAD, **dict(sorted(files.items()))}


def renamed(path: Path, package: str) -> str:
    """A module's text with its imports from a package of another name."""
    return _IMPORT.sub(rf"\g<1>{package}", path.read_text(encoding="utf-8"))


def flat(modules: Iterable[Path]) -> dict[str, str]:
    """The modules in one folder, imported relative to it, as transformers copies them: file name -> text."""
    return {f"{_flat_name(_dotted(path))}.py": flattened(path) for path in modules}


def flattened(path: Path) -> str:
    """A module's text with its imports from the folder that holds it."""
    text = _IMPORT_FROM.sub(
        lambda found: f"{found[1]}from .{_flat_name(found[2])} import ", path.read_text(encoding="utf-8")
    )
    return _NAMED.sub(lambda found: f'".{_flat_name(found[1])}{found[2]}', text)


def import_lines(modules: Iterable[Path]) -> str:
    """An import of each module: transformers copies the files that another one imports by name, and no others."""
    names = [_flat_name(_dotted(path)) for path in modules]
    return "".join(f"from .{name} import __name__ as _{name}  # noqa: E402, F401\n" for name in names)


def _flat_name(dotted: str) -> str:
    """The module's name in a folder that holds all of them."""
    last = dotted.rpartition(".")[2]
    return last if last in _OWN_NAMES else PART + dotted.replace(".", "_")


def _dotted(path: Path) -> str:
    return ".".join(path.relative_to(HERE.parent).with_suffix("").parts)


def _imported(path: Path) -> Iterator[Path]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith(f"{PACKAGE}."):
            yield _module_file(str(node.module).partition(".")[2])
        elif isinstance(node, ast.ImportFrom) and node.module == PACKAGE:
            yield from (_module_file(alias.name) for alias in node.names)


def _module_file(name: str) -> Path:
    """The file of a module, given its dotted name inside this package."""
    return HERE.parent.joinpath(*name.split(".")).with_suffix(".py")

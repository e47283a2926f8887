"""Draws the pictures of docs/architecture.md from the imports of the sources.

python docs/architecture.py            # writes the pictures into docs/architecture.md
python docs/architecture.py --check    # ends with status 1 if the pictures there are not those of the sources
"""

from __future__ import annotations

import argparse
import ast
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = "s3prl_gendistiller"
DOCUMENT = ROOT / "docs" / "architecture.md"
FACES = ("", "__main__", "compat", "s3prl", "transformers")  # what a user imports or starts; they stand above all rooms
GROUND = "config"  # stands for the single modules at the top of the package, which every room may import

# Steps of a batch: module, class or function in that module, what the step passes on.
TRAINING = (
    ("distill.data", "TrainLoader", "wavs (B, S), lengths (B,)"),
    ("distill.teacher", "Teacher", "teacher layers (B, L, T, D_t)"),
    ("models.gendistiller", "GenDistiller", "generated layers (B, L, T, D)"),
    ("distill.objectives.layerwise", "Layerwise", "sum and count of each term"),
    ("distill.task", "DistillTask", "the loss"),
    ("host.pretrain_expert", "PretrainExpert", "the loss, to s3prl's Runner"),
    ("host.saving", "save_checkpoint", "states-N.ckpt"),
)
EVALUATION = (
    ("host.upstream_expert", "UpstreamExpert", "hidden states, to s3prl's head"),
    ("cli.downstream", "main", "an experiment folder"),
    ("superb.suite.experiment_folder", "ExperimentFolders", "the metrics of one run"),
    ("superb.suite.benchmark", "run_suite", "the metrics of all runs"),
    ("superb.leaderboard.scores", "overall_score", "the score"),
    ("superb.suite.report", "write_report", "results.json, table.md, table.csv, table.tex, scores.png"),
)
DRIVERS = ((TRAINING, "host.pretrain_expert"), (EVALUATION, "cli.superb"))


def dotted(path: Path, package: Path = ROOT / PACKAGE) -> tuple[str, ...]:
    """A module's name inside the package, as parts: () for the package itself."""
    parts = path.relative_to(package).with_suffix("").parts
    return parts[:-1] if parts[-1] == "__init__" else parts


def read_modules(package: Path = ROOT / PACKAGE) -> dict[str, ast.Module]:
    """Syntax trees by dotted name below the package; "" is the package itself."""
    paths = sorted(package.rglob("*.py"))
    return {".".join(dotted(path, package)): ast.parse(path.read_text(encoding="utf-8")) for path in paths}


def imported(tree: ast.Module, inside: Sequence[str]) -> Iterator[str]:
    """The absolute dotted name of everything that a module of a package imports, wherever the import stands.

    Args:
        inside: the names of the package and of the packages below it down to the module.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = list(inside[: len(inside) - node.level + 1]) if node.level else []
            base += node.module.split(".") if node.module else []
            yield from (".".join([*base, alias.name]) for alias in node.names)


def imports_of(name: str, trees: Mapping[str, ast.Module]) -> set[str]:
    """Modules of the package that a module imports, with the packages of these."""
    names = imported(trees[name], [PACKAGE, *name.split(".")[:-1]])
    below = {one.removeprefix(f"{PACKAGE}.") for one in names if one.startswith(f"{PACKAGE}.")}
    return ({*below, *(one.rpartition(".")[0] for one in below)} & set(trees)) - {""}


def named_by(name: str, trees: Mapping[str, ast.Module]) -> set[str]:
    """Modules that a module names by text for a later import (``.models.gendistiller:build``), as a table's rows do."""
    texts = (node.value for node in ast.walk(trees[name]) if isinstance(node, ast.Constant))
    return {text[1:].partition(":")[0] for text in texts if isinstance(text, str) and text[:1] == "."} & set(trees)


def room_of(name: str, rooms: Iterable[str]) -> str:
    """The first part of a module's name, or `GROUND` for a single module."""
    first = name.partition(".")[0]
    return first if first in rooms else GROUND


def room_edges(trees: Mapping[str, ast.Module]) -> set[tuple[str, str]]:
    """Pairs of rooms of which the first imports the second, without the pairs that follow from others."""
    rooms = {name.partition(".")[0] for name in trees if "." in name}
    edges = set()
    for name in trees:
        if name in FACES:
            continue
        edges |= {(room_of(name, rooms), room_of(target, rooms)) for target in imports_of(name, trees)}
    edges = {(above, below) for above, below in edges if above != below}
    return {(above, below) for above, below in edges if not _is_implied(above, below, edges)}


def _is_implied(above: str, below: str, edges: set[tuple[str, str]]) -> bool:
    """Whether a way of two or more other edges leads from one room to another."""
    others = [target for source, target in edges if source == above and target != below]
    return below in _reached(others, lambda room: [target for source, target in edges if source == room])


def _reached(start: Iterable[str], following: Callable[[str], Iterable[str]]) -> set[str]:
    """The nodes of a graph that the edges reach from some nodes, these included."""
    waiting, seen = [*start], set()
    while waiting:
        node = waiting.pop()
        if node not in seen:
            seen.add(node)
            waiting += following(node)
    return seen


def check_steps(trees: Mapping[str, ast.Module]) -> None:
    """
    Raises:
        ValueError: a step is no class or function of its module, or its driver neither imports nor names the module.
    """
    for steps, driver in DRIVERS:
        reached = _reached([driver], lambda name: imports_of(name, trees) | named_by(name, trees))
        for module, name, _ in steps:
            if module not in trees:
                raise ValueError(f"{module}: found no such module; correct the steps in {Path(__file__).name}")
            defined = {node.name for node in trees[module].body if isinstance(node, ast.ClassDef | ast.FunctionDef)}
            if name not in defined or module not in reached:
                raise ValueError(
                    f"{module}: found no {name} that {driver} reaches by imports; correct the steps in "
                    f"{Path(__file__).name}"
                )


def draw_rooms(trees: Mapping[str, ast.Module]) -> str:
    """A Mermaid flowchart: an arrow goes from a room to a room that it imports."""
    lines = [f"    {above} --> {below}" for above, below in sorted(room_edges(trees))]
    return "\n".join(["```mermaid", "flowchart TD", *lines, "```"])


def draw_steps() -> str:
    """A Mermaid flowchart of the steps of a batch; an arrow carries what a step passes on."""
    lines = ["```mermaid", "flowchart LR", '    file(["audio file"]) --> t0']
    parts = (("t", TRAINING), ("e", EVALUATION))
    steps = [(f"{letter}{index}", *step) for letter, part in parts for index, step in enumerate(part)]
    lines += [f'    {key}["{module}<br>{name}"]' for key, module, name, _ in steps]
    targets = [*(key for key, *_ in steps[1:]), 'score(["table and SUPERB score"])']
    lines += [f'    {key} -- "{given}" --> {target}' for (key, *_, given), target in zip(steps, targets, strict=True)]
    return "\n".join([*lines, "```"])


def with_pictures(text: str, pictures: Mapping[str, str]) -> str:
    """The document with each picture between its two marks."""
    for name, picture in pictures.items():
        pattern = rf"(<!-- {name} -->\n).*?(<!-- end of {name} -->)"
        text, count = re.subn(pattern, lambda match: f"{match[1]}{picture}\n{match[2]}", text, flags=re.DOTALL)  # noqa: B023
        if count != 1:
            raise ValueError(f"{DOCUMENT.name}: found {count} places for the picture {name}, expected 1")
    return text


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare, and write nothing")
    args = parser.parse_args()
    trees = read_modules()
    check_steps(trees)
    before = DOCUMENT.read_text(encoding="utf-8")
    after = with_pictures(before, {"rooms": draw_rooms(trees), "batch": draw_steps()})
    if args.check:
        return int(before != after)
    DOCUMENT.write_text(after, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

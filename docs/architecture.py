"""Draws the pictures of docs/architecture.md from the imports of the sources.

python docs/architecture.py            # writes the pictures into docs/architecture.md
python docs/architecture.py --check    # ends with status 1 if the pictures there are not those of the sources
"""

from __future__ import annotations

import argparse
import ast
import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = "s3prl_gendistiller"
DOCUMENT = ROOT / "docs" / "architecture.md"
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
    ("superb.suite.report", "write_report", "results.json, table.md, scores.png"),
)
DRIVERS = ((TRAINING, "host.pretrain_expert"), (EVALUATION, "cli.superb"))


def read_modules(package: Path = ROOT / PACKAGE) -> dict[str, ast.Module]:
    """Syntax trees by dotted name below the package; "" is the package itself."""
    trees = {}
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        trees[name] = ast.parse(path.read_text(encoding="utf-8"))
    return trees


def imports_of(name: str, trees: Mapping[str, ast.Module]) -> set[str]:
    """Modules of the package that a module imports, wherever in the file the import stands."""
    found = set()
    for node in ast.walk(trees[name]):
        if isinstance(node, ast.Import):
            named = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            named = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            continue
        found |= {one.removeprefix(f"{PACKAGE}.") for one in named if one.startswith(f"{PACKAGE}.")}
    return found & set(trees)


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
        if name in ("", "__main__"):
            continue
        edges |= {(room_of(name, rooms), room_of(target, rooms)) for target in imports_of(name, trees)}
    edges = {(above, below) for above, below in edges if above != below}
    return {(above, below) for above, below in edges if not _is_implied(above, below, edges)}


def _is_implied(above: str, below: str, edges: set[tuple[str, str]]) -> bool:
    """Whether a way of two or more other edges leads from one room to another."""
    waiting = [target for source, target in edges if source == above and target != below]
    seen = set()
    while waiting:
        room = waiting.pop()
        if room == below:
            return True
        if room not in seen:
            seen.add(room)
            waiting += [target for source, target in edges if source == room]
    return False


def check_steps(trees: Mapping[str, ast.Module]) -> None:
    """
    Raises:
        ValueError: a step is no class or function of its module, or its driver neither imports nor names the module.
    """
    for steps, driver in DRIVERS:
        reached, waiting = set(), [driver]
        while waiting:
            name = waiting.pop()
            if name not in reached:
                reached.add(name)
                waiting += imports_of(name, trees) | named_by(name, trees)
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
    for letter, steps in (("t", TRAINING), ("e", EVALUATION)):
        lines += [f'    {letter}{index}["{module}<br>{name}"]' for index, (module, name, _) in enumerate(steps)]
    chain = [(f"t{index}", given) for index, (*_, given) in enumerate(TRAINING)]
    chain += [(f"e{index}", given) for index, (*_, given) in enumerate(EVALUATION)]
    targets = [*(step for step, _ in chain[1:]), 'score(["table and SUPERB score"])']
    lines += [f'    {step} -- "{given}" --> {target}' for (step, given), target in zip(chain, targets, strict=True)]
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

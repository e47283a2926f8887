"""The folder of a student that s3prl's ``--hub huggingface`` loads: SUPERB's hidden-set submission.

s3prl (downstream/runner.py, Runner._get_upstream) downloads a repository, appends its folder to `sys.path`, prints
requirements.txt, and calls `UpstreamExpert` of expert.py with the path of model.pt (``--upstream_model_name``) in that
folder. The evaluating machine does not need this package: copies of the modules that a student needs lie beside
expert.py in a package `SUBPACKAGE`, and differ from the originals only in that name.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from s3prl_gendistiller._version import __version__
from s3prl_gendistiller.config import ModelConfig
from s3prl_gendistiller.export.card import Card, render
from s3prl_gendistiller.front_ends import FRONT_ENDS
from s3prl_gendistiller.host.checkpoint import read_checkpoint, student_kind
from s3prl_gendistiller.host.students import check_steps, load_student
from s3prl_gendistiller.models.upstream import CONFIG, WEIGHTS
from s3prl_gendistiller.outputs import atomic_folder
from s3prl_gendistiller.schema import to_dict
from s3prl_gendistiller.student_kinds import STUDENT_KINDS, read_model_config

PACKAGE, SUBPACKAGE = "s3prl_gendistiller", "gendistiller_student"
HERE = Path(__file__).parent
EXPERT = HERE / "expert.py"
REQUIREMENTS, README = "requirements.txt", "README.md"
REQUIRED = ("torch>=2.1", "safetensors>=0.4", "pyyaml>=6.0")

_IMPORT = re.compile(rf"^(\s*(?:from|import) ){PACKAGE}\b", flags=re.MULTILINE)


def write_hub_folder(checkpoint: Path, folder: Path, card: Card, steps: int | None = None) -> list[Path]:
    """Writes expert.py and its modules, weights, configuration, requirements.txt and the model card.

    Args:
        folder: a new folder, which appears only when it is complete; the returned files are relative to it.
        steps: number of layers that are generated unless s3prl's ``-g`` gives another number; None for all.

    Raises:
        UserError: the folder exists, the checkpoint cannot be used, or the student generates fewer layers.
    """
    check_steps(steps, checkpoint)
    student = load_student(checkpoint)
    states = read_checkpoint(checkpoint, mmap=True)
    kind = student_kind(states, checkpoint)
    portable = _portable(read_model_config(kind.name, states["Upstream_Config"]))
    weights = {name: value.contiguous() for name, value in student.stored_module.state_dict().items()}
    stored = {"package": f"s3prl-gendistiller {__version__}", "task": kind.name, "steps": steps, "config": portable}
    texts = {
        **_code(),
        CONFIG: json.dumps(stored, indent=2) + "\n",
        REQUIREMENTS: "\n".join([*REQUIRED, *kind.packages]) + "\n",
        README: render(card, read_model_config(kind.name, portable), steps, __version__),
    }
    with atomic_folder(folder, "the upstream") as partial:
        for name, text in texts.items():
            path = partial / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        save_file(weights, partial / WEIGHTS, metadata={"format": "pt"})
    return sorted(map(Path, [*texts, WEIGHTS]))


def needed_modules(start: Path) -> list[Path]:
    """Modules of this package that `start` and the networks of all students import, and the packages around them."""
    builders = [kind.build.partition(":")[0] for kind in STUDENT_KINDS.values()]
    builders += [front_end.module for front_end in FRONT_ENDS.values()]
    found = {_module_file(name[1:]) for name in builders if name.startswith(".")}
    waiting = [start, *found]
    while waiting:
        for path in _imported(waiting.pop()):
            if path not in found:
                found.add(path)
                waiting.append(path)
    rooms = {path.parent / "__init__.py" for path in found if path.parent != HERE.parent}
    return sorted(found | rooms)


def _imported(path: Path) -> Iterator[Path]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith(f"{PACKAGE}."):
            yield _module_file(str(node.module).partition(".")[2])
        elif isinstance(node, ast.ImportFrom) and node.module == PACKAGE:
            yield from (_module_file(alias.name) for alias in node.names)


def _module_file(name: str) -> Path:
    """The file of a module, given its dotted name inside this package."""
    return HERE.parent.joinpath(*name.split(".")).with_suffix(".py")


def _code() -> dict[str, str]:
    """The text of each Python file of the folder."""
    modules = {path.relative_to(HERE.parent).as_posix(): path for path in needed_modules(EXPERT)}
    head = f'"""The modules of s3prl-gendistiller {__version__} that its students are made of; Apache License 2.0."""\n'
    return {
        "expert.py": _renamed(EXPERT),
        f"{SUBPACKAGE}/__init__.py": head,
        **{f"{SUBPACKAGE}/{name}": _renamed(path) for name, path in modules.items()},
    }


def _renamed(path: Path) -> str:
    return _IMPORT.sub(rf"\g<1>{SUBPACKAGE}", path.read_text(encoding="utf-8"))


def _portable(config: ModelConfig) -> dict[str, Any]:
    """The keys that build the student, and those that must fit them, without paths of this machine."""
    content, teacher = to_dict(config), config.teacher
    named = {"folder": Path(teacher.folder).name} if teacher.folder is not None else {"upstream": teacher.upstream}
    targets = {"target_layers": content["distill"]["target_layers"]}
    kept = {name: content[name] for name in ("student", "warm_start")}
    return {"teacher": named, **kept, "distill": targets}

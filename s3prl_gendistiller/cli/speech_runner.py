"""Runner YAML and first command for speech that `gendistiller manifest` has listed."""

from __future__ import annotations

import math
import os
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from s3prl_gendistiller.cli import shell
from s3prl_gendistiller.config_runner import DataConfig, RunnerConfig
from s3prl_gendistiller.host.overrides import Overrides
from s3prl_gendistiller.host.paths import VARIABLE, from_here
from s3prl_gendistiller.schema import from_dict, read_layered_yaml
from s3prl_gendistiller.spellings import ROOT

FEW_HOURS = 10.0
"""Below this, the mini recipe is named: the large one draws 20,800 h of crops, 2,000 times so many hours."""
LIBRISPEECH, TRAIN, HELD_OUT = "LibriSpeech", "train", "held_out"
_FOLDER = "pretrain_configs/gendistiller"
LARGE, MINI, MINI_MODEL = (f"{_FOLDER}/config_{part}.yaml" for part in ("runner", "runner_mini", "model_mini"))
_DATA = ("pretrain_expert", "datarc")
_LARGE_NEEDS = "WavLM Base+ as the teacher, which is downloaded, and 200,000 steps: one GPU with 24 GB or more"
_MINI_NEEDS = "the small teacher of this package and 600 steps: about a quarter of an hour on a CPU"


def runner_text(root: Path, lists: Path, held_out: bool, hours: float, about: str, command: str) -> str:
    """The text of a runner YAML that trains on the listed speech as it is.

    Args:
        root: absolute path of the listed folder.
        lists: folder of the lists.
        held_out: whether there is a list of held-out speech.
        hours: hours of all listed speech, which decide the recipe.
        about: one line about the lists.
        command: the command that trains with the file.
    """
    base, other = (MINI, LARGE) if hours < FEW_HOURS else (LARGE, MINI)
    return f"""\
# {about}
#   {command}
# This file states only what differs from its base. `gendistiller config runner` prints all keys.
base: {base}    # the other recipe: {other}
pretrain_expert:
  datarc:
    {ROOT}: {_scalar(root)}    # the folder that was listed
    file_path: {_scalar(lists.absolute())}    # the folder that holds the lists
    sets: [{TRAIN}]    # the lists to train on, without .csv
    valid_sets: [{HELD_OUT if held_out else ""}]    # the lists on which the student is scored while it trains
"""


def own_command(runner: Path, name: str, hours: float) -> tuple[str, str]:
    """The command that trains on a folder of speech, and what this command needs."""
    flags = ["-u", "gendistiller", "-n", name, "-c", from_here(runner)]
    if hours < FEW_HOURS:
        few = f"less than {FEW_HOURS:.0f} h is little for the large recipe, so {runner.name} takes the mini recipe"
        return _script([*flags, "-g", MINI_MODEL]), f"{few}: {_MINI_NEEDS}"
    return _script(flags), f"{runner.name} takes the large recipe: {_LARGE_NEEDS}"


def librispeech_commands(root: Path, lists: Path, splits: Sequence[str]) -> tuple[list[str], str]:
    """The commands that train on LibriSpeech or on a part of it, and what these commands need.

    Args:
        root: absolute path of the listed folder.
        splits: names of the lists in the folder `lists`.
    """
    large = set(recipe_data(LARGE).sets) <= set(splits)
    recipe = recipe_data(LARGE if large else MINI)
    train = [name for name in splits if name.startswith("train")] or splits
    wanted = {
        "sets": list(recipe.sets if set(recipe.sets) <= set(splits) else train[:1]),
        "valid_sets": [name for name in recipe.valid_sets if name in splits],
    }
    changed: dict[str, Any] = {key: value for key, value in wanted.items() if value != list(getattr(recipe, key))}
    before = []
    if root.name == LIBRISPEECH and lists == root / os.path.basename(recipe.file_path):
        if os.environ.get(VARIABLE) != str(root.parent):
            before = [f"export {VARIABLE}={shlex.quote(str(root.parent))}"]
    else:
        changed |= {ROOT: str(root), "file_path": str(lists)}
    overrides = Overrides(keys={(*_DATA, key): value for key, value in changed.items()}).text()
    files = [] if large else ["-g", MINI_MODEL, "-c", MINI]
    command = _script(["-u", "gendistiller", "-n", "my_student", *files, *(["-o", overrides] if changed else [])])
    needs = f"the large recipe fits these lists: {_LARGE_NEEDS}" if large else f"the mini recipe fits: {_MINI_NEEDS}"
    return [*before, command], needs


def recipe_data(runner: str) -> DataConfig:
    """The section about speech of a shipped runner YAML."""
    return from_dict(RunnerConfig, read_layered_yaml(runner), runner).pretrain_expert.datarc


def _script(flags: Sequence[str]) -> str:
    return shell.line([*shell.launcher("run_pretrain.py"), *flags])


def _scalar(path: Path) -> str:
    """A path as YAML, in quotes where YAML needs quotes."""
    return yaml.safe_dump(str(path), allow_unicode=True, width=math.inf).removesuffix("...\n").strip()

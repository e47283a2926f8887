"""The speech of a run of run_pretrain.py, checked before the run starts: its folders, its lists, its epochs."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterator
from pathlib import Path

from s3prl_gendistiller.cli.speech_runner import LARGE, MINI, recipe_data
from s3prl_gendistiller.config_runner import DataConfig, RunnerConfig
from s3prl_gendistiller.distill.listing import librispeech_splits
from s3prl_gendistiller.distill.manifest import read_manifest
from s3prl_gendistiller.errors import UserError, few
from s3prl_gendistiller.host.paths import speech_folders
from s3prl_gendistiller.spellings import LIBRI_ROOT, ROOT

_SECTION = "pretrain_expert.datarc"


def check_data(runner: RunnerConfig, new_run_of: str | None = None) -> None:
    """Refuses a run whose folders or lists are not there, or whose epochs are too short for its other keys.

    Args:
        new_run_of: the task of a new run, which may take another configuration; None for a run that goes on.

    Raises:
        UserError: names every key that is wrong.
    """
    data = runner.pretrain_expert.datarc
    root, manifests = speech_folders(data.root, data.file_path)
    problems = [*_folder_problems(Path(root), manifests)]
    problems = problems or [*_set_problems(data, Path(root), manifests, new_run_of)]
    if problems:
        raise UserError("\n".join(problems))
    if runner.runner.n_epochs > 0:
        _check_epochs(runner, root, manifests)


def _folder_problems(root: Path, manifests: Path) -> Iterator[str]:
    if not root.is_dir():
        yield (
            f"{_SECTION}.{ROOT} (or {LIBRI_ROOT}): found {root}, which is no folder; expected the folder that the "
            "paths in the lists are relative to; correct the path"
        )
    elif not manifests.is_dir():
        yield f"{_SECTION}.file_path: found {manifests}, which is no folder; {_write_lists(root, manifests)}"


def _set_problems(data: DataConfig, root: Path, manifests: Path, new_run_of: str | None) -> Iterator[str]:
    """One problem for each key that names lists which are not there."""
    there = sorted(path.stem for path in manifests.glob("*.csv"))
    for key, names in (("sets", data.sets), ("valid_sets", data.valid_sets)):
        missing = [name for name in names if name not in there]
        if missing:
            found = f"found {', '.join(missing)}, but {manifests} holds {few(there) or 'no list'}"
            yield f"{_SECTION}.{key}: {found}; {_remedy(key, missing, there, root, manifests, new_run_of)}"


def _remedy(key: str, missing: list[str], there: list[str], root: Path, manifests: Path, new_run_of: str | None) -> str:
    unlisted = set(missing) & set(librispeech_splits(root))
    if unlisted or not there:
        return _write_lists(root, manifests, overwrite=bool(there))
    if key == "valid_sets":
        return f'name one of these, or none with -o "config.{_SECTION}.valid_sets=[]"'
    mini = recipe_data(MINI).sets
    if new_run_of is not None and set(mini) <= set(there) and set(missing) <= set(recipe_data(LARGE).sets):
        folder = f"pretrain_configs/{new_run_of}"
        return (
            f"for a part of LibriSpeech, take the mini configuration: -g {folder}/config_model_mini.yaml "
            f"-c {folder}/config_runner_mini.yaml; or train this one with {_sets(mini[0])}"
        )
    return f"name one of these, such as {_sets(_likeliest(there))}"


def _sets(name: str) -> str:
    return f"""-o "config.{_SECTION}.sets=['{name}']\""""


def _likeliest(there: list[str]) -> str:
    """The list that most probably is meant for training."""
    return next((name for name in there if name.startswith("train")), there[0])


def _write_lists(root: Path, manifests: Path, overwrite: bool = False) -> str:
    audio, lists = (shlex.quote(str(folder)) for folder in (root, manifests))
    return f"write the lists with `gendistiller manifest {audio} --out {lists}{' --overwrite' * overwrite}`"


def _check_epochs(runner: RunnerConfig, root: str, manifests: Path) -> None:
    """Refuses log_step and save_step that a run of epochs never reaches."""
    section, data = runner.runner, runner.pretrain_expert.datarc
    paths = [manifests / f"{name}.csv" for name in data.sets]
    utterances = len(read_manifest(paths, root, skip_bad=data.skip_bad))
    batches = math.ceil(utterances / data.train_batch_size)
    steps = section.n_epochs * batches // section.gradient_accumulate_steps
    for name in ("log_step", "save_step"):
        if getattr(section, name) > steps:
            raise UserError(
                f"runner.{name}: found {getattr(section, name)}, expected at most {steps}, the steps of n_epochs "
                f"{section.n_epochs} over {utterances} utterances; lower it, or set n_epochs to -1 for total_steps"
            )

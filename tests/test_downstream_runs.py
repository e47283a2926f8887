"""The shipped configurations: each small one states only differences, and paths go through SUPERB_DATA or HERE."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from s3prl_gendistiller.schema import read_layered_yaml
from s3prl_gendistiller.superb.suite.language_model import SETTINGS
from s3prl_gendistiller.superb.suite.suite import HARDWARE, Suite
from s3prl_gendistiller.superb.tasks import PUBLISHED_CORPORA, TASKS, Task, choose_tasks

ROOT = Path(__file__).resolve().parents[1] / "downstream_runs"
FILES = sorted(ROOT.rglob("*.yaml"))
SMALL = [path for path in FILES if "small" in path.name]
MINI = [path for path in FILES if "mini" in path.name]
FITTING = [path for path in FILES if path.stem.endswith(HARDWARE)]


def leaves(content: Any, key: str = "") -> dict[str, Any]:
    if isinstance(content, dict) and content:
        parts = (leaves(value, f"{key}.{name}".lstrip(".")) for name, value in content.items())
        return {name: value for part in parts for name, value in part.items()}
    return {key: content}


def label(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def test_each_file_belongs_to_a_task_and_each_task_has_its_files() -> None:
    own = {task.config(preset) for task in TASKS.values() for preset in task.presets}
    assert {label(path) for path in FILES} == {*own, *map(label, FITTING), SETTINGS} and FITTING


@pytest.mark.parametrize("path", FILES, ids=label)
def test_s3prl_finds_what_it_asks_of_a_configuration(path: Path) -> None:
    content = read_layered_yaml(path)
    assert content["downstream_expert"]
    if path.parent.name == "quesst14_dtw":
        assert content["runner"] == {}
        return
    runner = content["runner"]
    numbers = ("total_steps", "gradient_accumulate_steps", "log_step", "eval_step", "save_step", "max_keep")
    assert all(isinstance(runner[key], int) and runner[key] > 0 for key in numbers)
    assert runner["total_steps"] % runner["save_step"] == 0  # or a finished run would lack its last checkpoint
    assert runner["total_steps"] % runner["eval_step"] == 0
    assert isinstance(runner["gradient_clipping"], (int, float)) and isinstance(runner["eval_dataloaders"], list)
    assert isinstance(content["optimizer"]["lr"], float) and content["optimizer"]["torch_optim_name"]


@pytest.mark.parametrize("path", [*SMALL, *MINI], ids=label)
def test_a_shorter_configuration_states_only_differences(path: Path) -> None:
    own = yaml.safe_load(path.read_text())
    base = leaves(read_layered_yaml(path.parent / own.pop("base")))
    same = [key for key, value in leaves(own).items() if base.get(key, "absent") == value and key != "specaug"]
    unknown = [key for key in leaves(own) if key not in base and not any(name.startswith(f"{key}.") for name in base)]
    assert same == [] and unknown == []


@pytest.mark.parametrize("path", SMALL, ids=label)
def test_a_small_configuration_starts_no_worker_processes(path: Path) -> None:
    expert = read_layered_yaml(path)["downstream_expert"]
    assert [value for key, value in leaves(expert).items() if key.endswith("num_workers")] == [0]


@pytest.mark.parametrize("path", FILES, ids=label)
def test_every_path_starts_at_superb_data_or_here(path: Path) -> None:
    values = leaves(read_layered_yaml(path))
    texts = [text for value in values.values() for text in (value if isinstance(value, list) else [value])]
    paths = [text for text in texts if isinstance(text, str) and "/" in text]
    assert paths and all(re.match(r"\$\{(SUPERB_DATA|HERE)\}/", text) for text in paths)
    for text in paths:
        if text.startswith("${HERE}"):
            assert (path.parent / text.removeprefix("${HERE}/")).is_file()


def test_the_letters_and_phonemes_are_all_there_once() -> None:
    phonemes = (ROOT / "ctc/phoneme.txt").read_text().splitlines()
    vowels = {phoneme[:-1] for phoneme in phonemes if phoneme[-1].isdigit()}
    assert len(phonemes) == len(set(phonemes)) == 2 + 15 * 3 + 24 and len(vowels) == 15
    letters = (ROOT / "ctc/character.txt").read_text().split("\n")[:-1]
    assert letters == [" ", *map(chr, range(ord("A"), ord("Z") + 1)), "'"]


@pytest.mark.parametrize("path", FITTING, ids=label)
def test_a_smaller_gpu_sees_the_same_batch_in_parts(path: Path) -> None:
    published = leaves(read_layered_yaml(path.parent / yaml.safe_load(path.read_text())["base"]))
    fitting = leaves(read_layered_yaml(path))
    changed = {key for key in {*published, *fitting} if published.get(key) != fitting.get(key)}
    parts = "runner.gradient_accumulate_steps"
    batches = changed - {parts}
    assert parts in changed and batches and all(re.search(r"\.(train_)?batch_size$", key) for key in batches)
    for key in batches:
        assert fitting[key] * fitting[parts] == published[key] * published[parts]
        assert fitting[key] % 2 == 0  # s3prl halves the batches of ASR


@pytest.mark.parametrize("hardware", [None, *HARDWARE])
def test_a_suite_takes_the_file_of_its_hardware_where_there_is_one(hardware: str | None) -> None:
    taken = set()
    for preset in PUBLISHED_CORPORA:
        tasks = choose_tasks(["all"], preset)
        suite = Suite([], tasks, preset, Path("out"), hardware=hardware)
        own = {label(suite.config_file(task)) for task in tasks}
        assert len(own) == len(tasks) and not own & taken
        taken |= own
    fitting = {label(path) for path in FITTING if hardware is not None and path.stem.endswith(hardware)}
    assert taken & set(map(label, FITTING)) == fitting and (hardware is None or fitting)


@pytest.mark.parametrize("task", choose_tasks(["all"], "mini"), ids=lambda task: task.name)
def test_mini_trains_superbs_head_for_a_tenth_of_the_steps(task: Task) -> None:
    mini, official = (leaves(read_layered_yaml(ROOT / task.config(preset))) for preset in ("mini", "official"))
    assert official["runner.total_steps"] == 10 * mini["runner.total_steps"]
    changed = {key for key, value in mini.items() if official[key] != value}
    evaluation = {"runner.eval_step", "runner.eval_dataloaders"}  # fewer evaluations, and none on test
    assert "runner.total_steps" in changed <= {"runner.total_steps", "optimizer.lr", *evaluation}


def test_what_fits_eight_gigabytes_fits_twelve() -> None:
    """No task needs parts on the larger of two GPUs only."""
    names = {
        size: {path.name.removesuffix(f"_{size}.yaml") for path in FITTING if size in path.stem} for size in HARDWARE
    }
    assert names["12gb"] <= names["8gb"]

"""Folders and lists of a run of run_pretrain.py: each fault is blamed on its key, with a remedy that works."""

from __future__ import annotations

import re
import shlex
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest

from s3prl_gendistiller.cli import main, pretrain
from s3prl_gendistiller.cli.pretrain_data import check_data
from s3prl_gendistiller.config_runner import RunnerConfig
from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.host.overrides import read_overrides
from s3prl_gendistiller.schema import from_dict, merge, read_layered_yaml
from tests.bench import write_corpus
from tests.conftest import ROOT
from tests.host.test_checkpoint import save_student

LARGE = read_layered_yaml(ROOT / "pretrain_configs/gendistiller/config_runner.yaml")


@pytest.fixture
def libri(tmp_path: Path) -> Path:
    return write_corpus(tmp_path) / "LibriSpeech"


def content(libri: Path, **data: Any) -> dict[str, Any]:
    folders = {"libri_root": str(libri), "file_path": str(libri / "len_for_bucket")}
    return merge(LARGE, {"pretrain_expert": {"datarc": folders | data}})


def problems(given: dict[str, Any], task: str | None = "gendistiller") -> list[str]:
    try:
        check_data(from_dict(RunnerConfig, given, "x"), task)
    except UserError as error:
        return str(error).splitlines()
    return []


def test_every_key_that_names_a_missing_list_is_blamed(libri: Path) -> None:
    found = problems(content(libri, sets=["train-clean-100", "tarin"], valid_sets=["dev-claen", "dev-clean"]))
    lists = libri / "len_for_bucket"
    there = "dev-clean, test-clean, train-clean-100"
    assert [line.partition(";")[0] for line in found] == [
        f"pretrain_expert.datarc.sets: found tarin, but {lists} holds {there}",
        f"pretrain_expert.datarc.valid_sets: found dev-claen, but {lists} holds {there}",
    ]


@pytest.mark.parametrize("task", ["gendistiller", "distilhubert"])
def test_a_part_of_librispeech_is_told_to_take_the_mini_configuration(libri: Path, task: str) -> None:
    (line,) = problems(content(libri), task)
    assert line.startswith("pretrain_expert.datarc.sets: found train-clean-360, train-other-500, but ")
    assert f"-g pretrain_configs/{task}/config_model_mini.yaml -c pretrain_configs/{task}/config_runner_mini" in line
    assert "gendistiller manifest" not in line


def test_the_overrides_that_a_message_names_are_taken(libri: Path) -> None:
    given = content(libri, valid_sets=["other"])
    lines = problems(given)
    assert len(lines) == 2
    for line in lines:
        (option,) = re.findall(r'-o "([^"]+)"', line)
        given = read_overrides(option).apply(given)
    assert problems(given) == []


def test_a_run_that_goes_on_is_not_told_to_take_another_configuration(libri: Path) -> None:
    (line,) = problems(content(libri), None)
    assert "mini" not in line and "sets=['train-clean-100']" in line


def test_lists_that_are_missing_can_be_written_with_the_command_in_the_message(
    libri: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = content(libri, sets=["train-clean-100"])
    for name in ("train-clean-100", "dev-clean", "test-clean"):
        (libri / "len_for_bucket" / f"{name}.csv").unlink()
    for unlisted in (2, 1):  # all lists, then one of three
        lines = problems(given)
        assert len(lines) == unlisted
        (command,) = set(re.findall(r"`gendistiller ([^`]+)`", "\n".join(lines)))
        assert main([*shlex.split(command), "--no-progress"]) == 0
        assert problems(given) == []
        (libri / "len_for_bucket" / "dev-clean.csv").unlink()


def test_a_folder_that_is_not_there_is_blamed_on_its_key(libri: Path) -> None:
    (line,) = problems(content(libri, libri_root=str(libri / "gone")))
    assert line.startswith(f"pretrain_expert.datarc.root (or libri_root): found {libri}/gone, which is no folder")
    (line,) = problems(content(libri, file_path=str(libri / "gone")))
    assert line.startswith(f"pretrain_expert.datarc.file_path: found {libri}/gone, which is no folder; write the lists")


@pytest.mark.parametrize("stored", ["root", "libri_root"])
@pytest.mark.parametrize("given", ["root", "libri_root"])
def test_a_run_that_goes_on_takes_either_name_of_the_root(
    stored: str, given: str, libri: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """s3prl applies -o itself, so that the key must have the name that stands in the checkpoint."""
    monkeypatch.chdir(tmp_path)
    config = content(libri, sets=["train-clean-100"])
    data = config["pretrain_expert"]["datarc"]
    data[stored] = data.pop("libri_root")
    arguments = Namespace(upstream="gendistiller", expdir="x", config=None, upstream_config=None, seed=1)
    save_student(tmp_path / "states-3.ckpt", Optimizer={}, Config=config, Args=arguments)
    commands: list[list[str]] = []
    override = f"config.pretrain_expert.datarc.{given}={libri}"
    assert pretrain.main(["-e", "states-3.ckpt", "-o", override], host=commands.append) == 0
    assert f"datarc.{stored}=" in commands[0][-1] and commands[0][-1].count("root=") == 1

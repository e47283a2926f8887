"""A working folder with one file of each kind that could be named by mistake, and launchers without a host."""

from __future__ import annotations

import argparse
import shutil
import sys
import types
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from hubert.random_teacher import write_random_teacher
from s3prl_gendistiller.cli import downstream
from s3prl_gendistiller.schema import read_layered_yaml
from tests.bench import TINY_TEACHER, Bench
from tests.conftest import ROOT
from tests.fairseq import host_checkpoint
from tests.host.test_checkpoint import save_student

ASR = ("-c", "downstream_runs/asr/small.yaml", "-d", "asr")
FBANK = ("-u", "fbank", *ASR)
SPLITS = {"train": ["a"], "dev-clean": ["b"], "test-clean": ["c"]}


def save_run(path: Path, **arguments: object) -> Path:
    """What run_downstream.py -u fbank -d asr writes, as far as a command line can ask for it."""
    stored = {"expdir": str(path.parent), "upstream": "fbank", "upstream_ckpt": None, "downstream": "asr", "seed": 1337}
    states = {"Optimizer": {}, "Step": 1, "Featurizer": {}, "Downstream": {}}
    states["Args"] = argparse.Namespace(**{**stored, **arguments})
    states["Config"] = read_layered_yaml(ROOT / "downstream_runs/asr/small.yaml")
    expert = states["Config"]["downstream_expert"]
    datarc = {name: value for name, value in expert["datarc"].items() if not isinstance(value, list)}
    dictionary = str(ROOT / "downstream_runs/asr/char.dict")
    expert["datarc"] = {**datarc, **SPLITS, "num_workers": 3, "dict_path": dictionary}
    path.parent.mkdir(exist_ok=True)
    torch.save(states, path)
    return path


@pytest.fixture(scope="module")
def place(bench: Bench, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder with one file of each kind that could be named by mistake."""
    root = tmp_path_factory.mktemp("place")
    save_student(root / "gen.ckpt")
    save_student(root / "students/states-3.ckpt")
    save_student(root / "pre.ckpt", Optimizer={}, Config={"runner": {}})
    weights = {"a": torch.zeros(1)}
    save_student(root / "base.ckpt", GenDistiller=None, Distiller=weights, Config={"distiller": {}})
    of_s3prl = {"GenDistiller": None, "Distiller": weights, "Config": {"distiller": {}}}
    save_student(root / "stock.ckpt", **of_s3prl, Upstream_Config=None)
    save_student(root / "stock2.ckpt", **of_s3prl, Upstream_Config={"distiller": {}})
    save_student(root / "odd.ckpt", **{**of_s3prl, "Upstream_Config": [1]}, Extra={5: 6}, cfg="x")
    save_run(root / "run/states-1.ckpt")
    shutil.copy(root / "run/states-1.ckpt", root / "down.ckpt")
    fairseq = {"cfg": {"model": {"_name": "hubert"}, "task": {}}, "model": weights, "args": None}
    torch.save(fairseq, root / "raw.pt")
    torch.save(weights, root / "pytorch_model.bin")
    module = types.ModuleType("fairseq.data.dictionary")
    module.Dictionary = type("Dictionary", (), {"__module__": module.__name__})  # type: ignore[attr-defined]
    with pytest.MonkeyPatch.context() as patch:
        for name in ("fairseq", "fairseq.data", module.__name__):
            patch.setitem(sys.modules, name, module)
        torch.save({**fairseq, "task_state": {"dictionaries": [module.Dictionary()]}}, root / "dictionary.pt")
    host_checkpoint(bench.teacher, root / "hubert.pt")
    write_random_teacher(root / "wavlm", model_type="wavlm", **TINY_TEACHER)
    (root / "hubert").symlink_to(bench.teacher)
    (root / "file").write_text("no folder")
    (root / "empty").mkdir()
    bench.model(root)
    bench.runner(root)
    return root


@pytest.fixture
def inside_place(place: Path, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(place)
    monkeypatch.setenv("SUPERB_DATA", str(bench.data))
    return place


def never(command: Sequence[str]) -> None:
    raise AssertionError(f"the host was called with {command}")


def downstream_refuses(capsys: pytest.CaptureFixture[str], *flags: str) -> str:
    return refuses(capsys, lambda argv: downstream.main(argv, host=never), *flags)


def refuses(capsys: pytest.CaptureFixture[str], command: object, *flags: str) -> str:
    capsys.readouterr()
    before = sorted(Path().rglob("*"))
    assert callable(command) and command(list(flags)) == 2
    error = capsys.readouterr().err
    messages = [line for line in error.splitlines() if line.startswith("error: ")]
    assert len(messages) == 1 and "Traceback" not in error, error
    assert sorted(Path().rglob("*")) == before
    return messages[0]


def accepted(*flags: str) -> list[str]:
    commands: list[list[str]] = []
    assert downstream.main(list(flags), host=lambda command: commands.append(list(command))) == 0
    shutil.rmtree("result", ignore_errors=True)
    return commands[0]


def stopped(command: Sequence[str]) -> None:
    raise KeyboardInterrupt

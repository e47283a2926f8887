"""GLMD's second stage through the real host: a head with labels first, then a student's head that learns from it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from s3prl_gendistiller.cli import downstream
from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.formats.printed import printed_values
from s3prl_gendistiller.host.checkpoint import read_checkpoint
from s3prl_gendistiller.host.feature_cache import identity
from s3prl_gendistiller.superb.suite.processes import Processes, locked
from s3prl_gendistiller.superb.tasks import TASKS
from tests.conftest import ROOT
from tests.host.test_checkpoint import save_student
from tests.superb.noise_corpora import write_ten

SHORT = ",,".join(f"config.runner.{key}=2" for key in ("total_steps", "eval_step", "save_step", "log_step"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("second")
    write_ten(folder / "data")
    torch.manual_seed(0)
    save_student(folder / "teacher.ckpt")
    torch.manual_seed(1)
    save_student(folder / "student.ckpt")
    return folder


@pytest.fixture(scope="module")
def launch(folder: Path) -> Iterator[Processes]:
    with pytest.MonkeyPatch.context() as patch, locked(folder / "runs") as lock:
        patch.setenv("SUPERB_DATA", str(folder / "data"))
        yield Processes(downstream.main, 1, lock)


def logs_soft_loss(run: Path) -> bool:
    return any(b"glmd/train-soft_loss" in path.read_bytes() for path in run.glob("events.*"))


@pytest.mark.parametrize("name", ["ks", "ic", "er", "sid", "pr", "asr"])
def test_a_head_learns_from_the_teachers_head(name: str, folder: Path, launch: Processes) -> None:
    task = TASKS[name]
    config = str(ROOT / "downstream_runs" / task.config("small"))
    common = ["-m", "train", "-u", "gendistiller_local", "-c", config, "-o", SHORT]
    with_labels, learned = folder / "runs" / f"{name}_teacher", folder / "runs" / f"{name}_student"
    teacher = ["-k", str(folder / "teacher.ckpt"), "-d", task.downstream, "-p", str(with_labels)]
    launch([*common, *teacher], folder / f"{name}_teacher.log")
    student = ["-k", str(folder / "student.ckpt"), "-d", f"glmd_{name}", "-p", str(learned)]
    log = folder / f"{name}_student.log"
    launch([*common, *student, "--teacher", str(with_labels)], log)
    states = read_checkpoint(learned / "states-2.ckpt")
    assert states["Args"].downstream == f"glmd_{name}"
    assert states["Downstream"].keys() == read_checkpoint(with_labels / "states-2.ckpt")["Downstream"].keys()
    launch(["-m", "evaluate", "-t", task.test, "-e", str(learned / "states-2.ckpt")], log)
    assert printed_values(log.read_text(), task.test, task.metrics[0].printed or "acc")
    assert logs_soft_loss(learned) and not logs_soft_loss(with_labels)
    if name == "ks":
        with pytest.raises(UserError, match="found a run of speech_commands, expected one of -d fluent_commands"):
            wrong = ["-m", "train", "-u", "gendistiller_local", "-d", "glmd_ic", "-p", str(folder / "x")]
            launch([*wrong, "-k", str(folder / "student.ckpt"), "--teacher", str(with_labels)], folder / "wrong.log")
        kept = folder / "kept"
        student[-1] = str(folder / "runs" / "ks_cached")
        launch([*common, *student, "--teacher", str(with_labels), "--cache-features", str(kept)], folder / "cached.log")
        for who in ("teacher", "student"):
            of_upstream = identity("gendistiller_local", str(folder / f"{who}.ckpt"), None)
            assert list((kept / of_upstream / "hidden_states").glob("*.npz"))

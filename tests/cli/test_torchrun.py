"""Faults of several ranks: one message from one rank, status 2 of all, nothing written; and restarts."""

from __future__ import annotations

import functools
import os
import shutil
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from s3prl_gendistiller.cli import pretrain, torchrun
from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.host import meeting, mount
from s3prl_gendistiller.host.meeting import Meeting
from s3prl_gendistiller.host.overrides import read_overrides
from s3prl_gendistiller.host.process_group import choose_device
from tests.bench import Bench
from tests.cli.places import never
from tests.forked_ranks import launched

MODEL, RUNNER = "gendistiller_model.yaml", "gendistiller_runner.yaml"
RUN = ("-u", "gendistiller", "-g", MODEL, "-c", RUNNER, "-n", "ranks")


def refused(folder: Path, *argvs: Sequence[str], host: object = never, **environment: str) -> str:
    """The one message of ranks that are refused; nothing is left."""
    before = sorted(Path().rglob("*"))
    found = launched(folder, functools.partial(pretrain.main, host=host), argvs, **environment)
    assert [status for status, _ in found] == [2] * len(argvs), found
    written = "".join(error for _, error in found)
    assert written.count("error: ") == 1 and "Traceback" not in written, written
    assert sorted(Path().rglob("*")) == before
    return written


def accepted(folder: Path, *argvs: Sequence[str], **environment: str) -> list[list[str]]:
    """The commands for the host of each rank."""

    def host(command: Sequence[str]) -> None:
        here = meeting.present()
        assert here is not None
        (folder / f"command-{here.rank}").write_text("\n".join(command))

    found = launched(folder, functools.partial(pretrain.main, host=host), argvs, **environment)
    assert [status for status, _ in found] == [0] * len(argvs), found
    return [(folder / f"command-{rank}").read_text().splitlines() for rank in range(len(argvs))]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("-o", "config.runner.total_step=9"), "did you mean total_steps"),
        (("-o", "config.pretrain_expert.datarc.train_batch_size=1"), "found 1 with 2 ranks, expected at least 2"),
        (("--multi_gpu",), "--multi_gpu: found inside torchrun"),
        (("--device", "cuda"), "--device cuda: found no GPU"),
        (("--device", "cuda:1"), "--device: found cuda:1 with 2 ranks, expected cuda or cpu"),
        (("-u", "mockingjay"), "-u: found mockingjay with 2 ranks"),
    ],
)
def test_a_fault_that_all_ranks_find_is_said_once(
    change: tuple[str, ...], said: str, inside_place: Path, tmp_path: Path
) -> None:
    assert said in refused(tmp_path, *[(*RUN, *change)] * 2)


def test_ranks_with_other_configurations_are_refused(inside_place: Path, tmp_path: Path) -> None:
    argvs = [RUN, (*RUN, "-o", "config.optimizer.lr=0.5,,config.runner.log_step=1"), RUN]
    error = refused(tmp_path, *argvs)
    assert "the ranks differ in configuration" in error
    assert "-c optimizer.lr: found 0.001 on rank 0" in error and "0.5 on rank 1" in error
    assert "-c runner.log_step: found 2 on rank 0" in error and "rank 2" not in error


def test_a_fault_of_one_rank_is_said_by_that_rank_and_ends_all(inside_place: Path, tmp_path: Path) -> None:
    error = refused(tmp_path, RUN, (*RUN[:-4], "-c", "none.yaml", "-n", "ranks"))
    assert "none.yaml: no such file" in error


def test_ranks_with_other_speech_are_refused_before_the_first_step(
    bench: Bench, inside_place: Path, tmp_path: Path
) -> None:
    """The real host: rank 1 sees other lists under the same name, as on another machine."""
    other = shutil.copytree(bench.data, tmp_path / "other")
    (lists,) = other.rglob("train-clean-100.csv")
    lists.write_text("\n".join(lists.read_text().splitlines()[:-1]) + "\n")

    def main(argv: Sequence[str]) -> int:
        here = bench.data if os.environ["RANK"] == "0" else other
        os.environ["SUPERB_DATA"] = str(here)
        return pretrain.main(argv, host=mount.run_pretrain)

    folder = tmp_path / "run"
    found = launched(tmp_path, main, [[*RUN[:-2], "-p", str(folder)]] * 2)
    written = "".join(error for _, error in found)
    assert [status for status, _ in found] == [2, 2], written
    assert "the ranks differ in teacher and speech" in written and "data: found" in written
    assert written.count("error: ") == 1 and not folder.exists()


def test_a_file_that_one_rank_cannot_read_while_training_ends_all_with_one_message(
    bench: Bench, inside_place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = shutil.copytree(bench.data, tmp_path / "data")
    for path in sorted((data / "LibriSpeech/train-clean-100").rglob("*.flac"))[:4]:
        content = path.read_bytes()
        path.write_bytes(content[: len(content) // 2] + bytes(len(content) // 2))  # header and first samples are whole
    monkeypatch.setenv("SUPERB_DATA", str(data))
    folder = tmp_path / "run"
    found = launched(tmp_path, pretrain.main, [[*RUN[:-2], "-p", str(folder)]] * 2)
    written = "".join(error for _, error in found)
    assert [status for status, _ in found] == [2, 2], written
    assert written.count("error: ") == 1 and "Traceback" not in written, written
    assert ".flac" in written.partition("error: ")[2]


def test_ranks_share_the_name_of_a_run_and_a_restart_goes_on_with_it(inside_place: Path, tmp_path: Path) -> None:
    def name(command: list[str]) -> str:
        return command[command.index("-n") + 1]

    first, second = accepted(tmp_path, RUN[:-2], RUN[:-2])
    assert name(first) == name(second) == "gendistiller"
    assert name(accepted(tmp_path, RUN[:-2], RUN[:-2])[1]) == "gendistiller-2"


def test_a_restart_goes_on_from_the_newest_checkpoint(inside_place: Path, tmp_path: Path) -> None:
    """Also where the command began a run with -n, and with an override that the checkpoint holds already."""
    run = tmp_path / "run"
    run.mkdir()
    config = {"optimizer": {"lr": 0.5}, "runner": {"total_steps": 6}}
    torch.save({"Step": 3, "Optimizer": {}, "Args": Namespace(), "Config": config}, run / "states-3.ckpt")
    args = Namespace(past_exp=None, expname="x", expdir=None, upstream="gendistiller", auto_resume=False)
    args.overrides = read_overrides("config.optimizer.lr=0.5,,args.seed=3")
    here = Meeting(torch.distributed.HashStore(), 0, 1, attempt=1, restarts=3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(meeting, "_present", here)
        torchrun.settle(args, {}, str)
        assert args.auto_resume
        torchrun.without_repeated(args, run / "states-3.ckpt")
        assert not args.overrides.keys and not args.overrides.flags
        args.overrides = read_overrides("config.optimizer.lr=0.1,,args.device=cpu")
        torchrun.without_repeated(args, run / "states-3.ckpt")
        assert args.overrides.keys and args.overrides.flags == {"device": "cpu"}


def test_a_restart_from_an_older_checkpoint_is_refused_before_the_first_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for step in (3, 6):
        torch.save({"Step": step, "Optimizer": {}, "Args": Namespace(), "Config": {}}, tmp_path / f"states-{step}.ckpt")
    args = Namespace(past_exp=str(tmp_path / "states-3.ckpt"), expname=None, expdir=None, upstream=None)
    store = torch.distributed.HashStore()
    monkeypatch.setattr(meeting, "_present", Meeting(store, 0, 1, restarts=3))
    with pytest.raises(UserError, match="found with torchrun --max-restarts.*states-6.ckpt"):
        torchrun.settle(args, {}, str)
    args.past_exp = str(tmp_path / "states-6.ckpt")
    torchrun.settle(args, {}, str)
    assert args.past_exp == str(tmp_path)


def test_more_ranks_than_gpus_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.distributed, "is_nccl_available", lambda: True)
    store = torch.distributed.HashStore()
    here = Meeting(store, 1, 4, local_rank=1, local_world=4)
    with pytest.raises(UserError, match="found 4 with 2 GPUs on .*give --nproc_per_node 2"):
        choose_device(here, None, {})
    assert choose_device(here, "cpu", {}) == "cpu"
    here = Meeting(store, 3, 4, local_rank=1, local_world=2)
    assert choose_device(here, None, {}) == choose_device(here, "cuda", {}) == "cuda:1"
    monkeypatch.setattr(torch.distributed, "is_nccl_available", lambda: False)
    with pytest.raises(UserError, match="has no NCCL"):
        choose_device(here, None, {})


def test_an_environment_of_no_torchrun_is_refused(
    inside_place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert pretrain.main(list(RUN), host=never) == 2
    assert "WORLD_SIZE: found 2 in the environment without RANK, LOCAL_RANK" in capsys.readouterr().err
    with pytest.raises(UserError, match="s3prl's own script trains in one process"):
        meeting.refuse_unjoined(1)
    monkeypatch.setenv("WORLD_SIZE", "two")
    assert pretrain.main(list(RUN), host=never) == 2
    assert "WORLD_SIZE: found 'two'" in capsys.readouterr().err

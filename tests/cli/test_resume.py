"""Going on with a run, and what a run is stopped by."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from s3prl_gendistiller.cli import downstream, pretrain
from s3prl_gendistiller.host.checkpoint import newest_checkpoint
from tests.cli.places import ASR, FBANK, accepted, downstream_refuses, never, refuses, save_run, stopped


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("-e", "pre.ckpt"), "one of run_downstream.py; run_pretrain.py -e pre.ckpt goes on with it"),
        (("-e", "gen.ckpt"), "found no Optimizer, Config in it"),
        (("-e", "nope"), "nope: no such checkpoint"),
        (("-e", "run", "-a"), "-a: found together with -e run"),
        (("-e", "run", "-n", "x"), "-n x: found together with -e run"),
        (("-e", "run", "-p", "x"), "-p x: found together with -e run"),
        (("-e", "run", "-i", "down.ckpt"), "-i: found down.ckpt beside -e"),
        (("-e", "run", "-u", "mel"), "-u: found mel, but the run of run/states-1.ckpt began with fbank"),
        (("-e", "run", "-d", "emotion"), "-d: found emotion, but the run"),
        (("-e", "run", "-k", "x"), "-k: found x, but the run"),
        (("-e", "run", "--seed", "3"), "--seed: found 3, but the run of run/states-1.ckpt began with 1337"),
        (
            ("-e", "run", "-m", "evaluate"),
            "-t: missing (s3prl's default, test, is no split of this task), expected one",
        ),
        (("-e", "run", "-m", "evaluate", "-t", "tset"), "-t: found tset, expected one of train, dev-clean, test-clean"),
        (("-e", "run", "-m", "inference"), "-t: found nothing with -m inference, expected an audio file"),
        (("-p", "run", *FBANK), "Add -a to go on with it"),
    ],
)
def test_a_run_goes_on_with_what_it_began_with(
    flags: tuple[str, ...], said: str, inside_place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert said in downstream_refuses(capsys, *flags)


def test_a_run_that_goes_on_takes_the_same_flags_again_and_evaluates_a_split(inside_place: Path) -> None:
    assert accepted("-p", "run", "-a", *FBANK, "--seed", "1337")[:4] == ["-m", "train", "-e", "run/states-1.ckpt"]
    command = accepted("-m", "evaluate", "-e", "run", "-t", "test-clean")
    assert command[command.index("-t") + 1] == "test-clean"


def test_a_student_that_is_gone_is_named_before_a_run_goes_on(
    inside_place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = save_run(tmp_path / "r/states-1.ckpt", upstream="gendistiller_local", upstream_ckpt="/gone/states-3.ckpt")
    error = downstream_refuses(capsys, "-e", str(run))
    assert "-k /gone/states-3.ckpt: no such file" in error and "-o args.upstream_ckpt=PATH" in error
    assert "args.upstream_ckpt='gen.ckpt'" in accepted("-e", str(run), "-o", "args.upstream_ckpt=gen.ckpt")[-1]


def test_a_run_that_was_killed_in_its_first_save_begins_again(
    inside_place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "states-3.ckpt").write_bytes(b"PK\x03\x04 half a checkpoint")
    files = ("-u", "gendistiller", "-g", "gendistiller_model.yaml", "-c", "gendistiller_runner.yaml", "-p", str(run))
    assert "Add -a to go on with it" in refuses(capsys, lambda argv: pretrain.main(argv, host=never), *files)
    commands: list[Sequence[str]] = []
    assert pretrain.main([*files, "-a"], host=commands.append) == 0 and "-u" in commands[0]
    assert f"-a: found no whole checkpoint in {run}: begins again" in capsys.readouterr().err
    assert (run / "states-3.ckpt.broken").is_file() and newest_checkpoint(run) is None


def test_a_stopped_run_says_the_command_that_goes_on_with_it(
    inside_place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    assert downstream.main([*FBANK, "-p", str(run)], host=stopped) == 130
    assert "nothing was saved yet: the same command begins again" in capsys.readouterr().err
    save_run(run / "states-1.ckpt")
    assert downstream.main(["-e", str(run)], host=stopped) == 130
    printed = capsys.readouterr().err.splitlines()[-1]
    assert printed.endswith(" goes on with the run")
    _, script, *flags = printed.removesuffix(" goes on with the run").partition("stopped; ")[2].split()
    assert script == "run_downstream.py" and accepted(*flags)[2:4] == ["-e", f"{flags[1]}/states-1.ckpt"]
    assert downstream.main(["-m", "evaluate", "-t", "dev-clean", "-e", str(run)], host=stopped) == 130
    assert "stopped; the same command begins again" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(28, "No space left on device", "run/states-2.ckpt"), "run/states-2.ckpt: the disk is full"),
        (OSError(30, "Read-only file system", "run/x"), "run/x: read-only file system"),
        (PermissionError(13, "Permission denied", "run/x"), "run/x: permission denied"),
        (
            RuntimeError("[enforce fail at x.cc:1] PytorchStreamWriter failed writing file data/3"),
            "could not be written",
        ),
        (
            RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed."),
            "-o config.downstream_expert.datarc.num_workers=0 for none",
        ),
        (RuntimeError("DataLoader worker (pid(s) 7) exited unexpectedly"), "most likely because memory was short"),
        (torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), "the GPU has too little memory"),
        (MemoryError(), "the machine has too little memory"),
    ],
)
def test_what_a_run_dies_of_that_is_no_bug_is_one_message(
    error: Exception, said: str, inside_place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def host(command: Sequence[str]) -> None:
        try:
            raise error
        except type(error) as first:
            raise RuntimeError("while saving") from first

    run = save_run(tmp_path / "run/states-1.ckpt")
    assert downstream.main(["-e", str(run)], host=host) == 2
    printed = capsys.readouterr().err
    assert said in printed and "Traceback" not in printed
    assert run.is_file()


def test_a_bug_keeps_its_traceback(inside_place: Path, tmp_path: Path) -> None:
    def host(command: Sequence[str]) -> None:
        raise ValueError("a bug")

    with pytest.raises(ValueError, match="a bug"):
        downstream.main([*FBANK, "-p", str(tmp_path / "run")], host=host)


def test_a_run_goes_on_only_with_the_student_that_its_head_was_trained_on(
    inside_place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    student, run = tmp_path / "student.ckpt", tmp_path / "run"
    shutil.copy("gen.ckpt", student)
    flags = ("-u", "gendistiller_local", "-k", str(student), *ASR, "-p", str(run))
    assert downstream.main(list(flags), host=lambda command: None) == 0
    save_run(run / "states-1.ckpt", upstream="gendistiller_local", upstream_ckpt=str(student))
    evaluate = ("-m", "evaluate", "-t", "dev-clean", "-e", str(run))
    accepted(*evaluate)
    student.rename(tmp_path / "moved.ckpt")
    accepted(*evaluate, "-o", f"args.upstream_ckpt={tmp_path / 'moved.ckpt'}")
    shutil.copy("students/states-3.ckpt", student)
    states = torch.load(student, weights_only=False)
    torch.save({**states, "Step": 99}, student)
    assert "is not what the run in" in downstream_refuses(capsys, *evaluate)


def test_a_checkpoint_without_a_folder_goes_on_where_it_lies(inside_place: Path, tmp_path: Path) -> None:
    run = save_run(tmp_path / "r/states-1.ckpt")
    states = torch.load(run, weights_only=False)
    del states["Args"].expdir
    torch.save(states, run)
    assert f"args.expdir={str(run.parent)!r}" in accepted("-e", str(run))[-1]

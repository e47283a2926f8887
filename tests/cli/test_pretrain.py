"""Flags of run_pretrain.py, before the host runs."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from s3prl_gendistiller.cli import pretrain
from tests.bench import Bench
from tests.cli.places import never, refuses


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("-e", "down.ckpt"), "one of run_pretrain.py; run_downstream.py -e down.ckpt goes on with it"),
        (("-e", "run"), "one of run_pretrain.py; run_downstream.py -e run/states-1.ckpt goes on with it"),
        (("-e", "pre.ckpt", "-a"), "-a: found together with -e"),
        (("-n", "../x"), "expected one name, without slashes"),
        (("-p", "file"), "found a file at"),
        (("-p", "/proc/x"), "nothing can be written there"),
        (("--device", "mps"), "--device: found mps"),
        (("--seed", "4294967296"), "--seed: found '4294967296'"),
        (("--multi_gpu",), "--multi_gpu: found with --device cpu"),
        (("-a",), "-a: found without the name of a run"),
        (("--cache-teacher", "c", "-u", "mockingjay"), "--cache-teacher: found with -u mockingjay, a task of s3prl's"),
        (
            ("--cache-teacher", "c", "-o", "config.pretrain_expert.datarc.cache_teacher=d"),
            "--cache-teacher: found together with -o config.pretrain_expert.datarc.cache_teacher",
        ),
        (("-k", "x"), "found -k x, which no flag takes"),
        (("-m", "train"), "found -m train, which no flag takes"),
        (("-u", "mockingjay", "-c", "x"), "-c: found no file x, expected the runner configuration of mockingjay"),
    ],
)
def test_flags_of_run_pretrain_that_cannot_work_are_refused(
    flags: tuple[str, ...],
    said: str,
    inside_place: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    files = () if {"-e", "mockingjay"} & set(flags) else ("-u", "gendistiller", "-g", "gendistiller_model.yaml")
    files += ("-c", "gendistiller_runner.yaml") if files else ()
    assert said in refuses(capsys, lambda argv: pretrain.main(argv, host=never), *files, *flags)


@pytest.mark.parametrize(
    ("teacher", "said"),
    [
        ({"upstream": "hubertt"}, "teacher.upstream: found 'hubertt', expected an upstream"),
        ({"upstream": "hubert_local"}, "teacher.checkpoint: missing"),
        ({"upstream": "hubert_local", "checkpoint": "raw.pt"}, "python -m s3prl.upstream.hubert.convert raw.pt"),
        ({"upstream": "hubert_base", "checkpoint": "gen.ckpt"}, "set teacher.upstream to gendistiller_local"),
        ({"upstream": "hubert_local", "checkpoint": "down.ckpt"}, "found a run of run_downstream.py"),
        ({"upstream": "hubert_local", "checkpoint": "nope.pt"}, "teacher.checkpoint nope.pt: no such file"),
    ],
)
def test_a_teacher_is_checked_by_the_same_rules_before_a_folder_is_made(
    teacher: dict, said: str, inside_place: Path, bench: Bench, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = bench.model(tmp_path, teacher={"folder": None, **teacher})
    flags = ("-u", "gendistiller", "-g", str(model), "-c", "gendistiller_runner.yaml")
    assert said in refuses(capsys, lambda argv: pretrain.main(argv, host=never), *flags)


def test_verbose_is_a_flag_of_the_launcher_that_s3prl_does_not_get() -> None:
    read = pretrain._parser().parse_args
    assert [read(words).verbose for words in ([], ["-v"], ["--verbose"])] == [False, True, True]

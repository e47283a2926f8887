"""Flags of run_pretrain.py, before the host runs."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from s3prl_gendistiller.cli import pretrain
from tests.cli.places import never, refuses


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("-e", "down.ckpt"), "python run_downstream.py -e down.ckpt goes on with it"),
        (("-e", "run"), "python run_downstream.py -e run/states-1.ckpt goes on with it"),
        (("-e", "pre.ckpt", "-a"), "-a: found together with -e"),
        (("-n", "../x"), "expected the name of one folder"),
        (("-p", "file"), "found a file at"),
        (("-p", "/proc/x"), "nothing can be written there"),
        (("--device", "mps"), "--device: found mps"),
        (("--seed", "4294967296"), "--seed: found '4294967296'"),
        (("--multi_gpu",), "--multi_gpu: found with --device cpu"),
        (("-a",), "-a: found without the name of a run"),
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

"""What is typed behind `gendistiller`, before the work begins."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest

from s3prl_gendistiller.cli import launch, main, parser, resume
from tests.cli.places import refuses, stopped


def test_every_command_says_its_own_way_to_go_on(
    inside_place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from s3prl_gendistiller.cli import corpus, curves

    for module, argv, said in (
        (corpus, ["corpus", "x"], "stopped; the same command continues"),
        (curves, ["curves", "x"], "stopped; the same command begins again"),
    ):
        monkeypatch.setattr(module, "run", lambda args: stopped([]))
        assert main(argv) == 130
        assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("superb --student x=fbank --student x=mel --out o", "--student x=mel: the name x is taken"),
        ("superb --student ..=gen.ckpt", "found the name '..'"),
        ("superb --student t=hubert_local", "--student: missing; expected a checkpoint's path"),
        ("superb --student t=hubertt", "--student: found 'hubertt', expected an upstream"),
        ("superb --student t=passt_base", "its Runner cannot use"),
        ("superb --student t=down.ckpt", "found a run of run_downstream.py, expected an upstream"),
        ("superb --student t=stock.ckpt", "which distiller_local reads"),
        ("superb --student t=stock2.ckpt", "which distiller_local reads"),
        ("superb --student t=raw.pt", "python -m s3prl.upstream.hubert.convert raw.pt"),
        ("superb --student f=fbank --seed -1", "--seed: found '-1'"),
        ("superb --student f=fbank --seed 4294967296", "--seed: found '4294967296'"),
        ("superb --student f=fbank --tasks ks --lr er=1e-3", "--lr er=1e-3: found without er among the tasks"),
        ("superb --student f=fbank --tasks ks --lr ks=nan", "--lr ks=nan: expected rates above 0"),
        ("superb --student f=fbank --tasks ks --lr ks=-1", "--lr ks=-1: expected rates above 0"),
        ("superb --student f=fbank --tasks ks --lr ks=1 ks=2", "--lr ks=2: found twice"),
        ("superb --student f=fbank --tasks ks --lr ks=1,1", "--lr ks=1,1: found twice"),
        ("superb --student f=fbank --tasks qbe --lr qbe=1", "for a task that trains nothing"),
        ("superb --student f=fbank --tflops nan", "--tflops: found nan"),
        ("superb --student f=fbank --tasks ks --halving", "--halving: found without a search"),
        ("superb --student f=fbank --tasks ks --score-from mel", "--score-from: found mel, expected a student"),
        ("superb --student f=fbank --tasks ks --devices banana --dry-run", "--devices: found banana, expected cpu"),
        ("units m.csv --root . --out u --teacher fbank --checkpoint x", "--checkpoint: found x with upstream fbank"),
        ("units m.csv --root . --out u --teacher hubert_local", "--checkpoint: missing"),
        ("units m.csv --root . --out u --teacher hubert_base --checkpoint no", "--checkpoint no: no such file"),
        ("macs --student f=fbank --steps 2", "--steps: found without a student that generates"),
        ("macs --student t=hubert_local", "--student: missing"),
        ("macs --student f=fbank --out empty", "--out empty: found a folder"),
        ("macs --student f=fbank --out file/x.png", "--out file/x.png: found a file at file"),
        ("score --out file/x.png", "--out file/x.png: found a file at file"),
        ("score --out /proc/x/y.png", "nothing can be written there"),
        ("curves run --out empty", "--out empty: found a folder"),
        ("curves run run", "named twice"),
        ("curves run --out file/x.png", "found a file at file"),
        ("corpus file", "OUT file: found a file"),
        ("corpus c --seed -1", "--seed: found '-1'"),
        ("corpus c --check --seed 3", "--seed: found with --check"),
        ("corpus c --check --workers 2", "--workers: found with --check"),
        ("manifest empty --name ../x", "expected one name, without slashes"),
        ("manifest hubert --out file", "--out file: found a file"),
        ("demo --out file", "--out file: found a file"),
        ("submit --tasks ks", "--tasks: found without the folder of a suite"),
        ("submit --checkpoint down.ckpt --hub-folder h", "--checkpoint: down.ckpt could not be loaded"),
        ("submit --checkpoint gen.ckpt --hub-folder file/h", "--hub-folder file/h: found a file at file"),
        ("units m.csv --root . --out u --teacher hubert --checkpoint x", "--checkpoint: found with the folder hubert"),
        ("units m.csv --root . --out u --teacher hubertt", "--teacher: found 'hubertt', expected an upstream"),
        ("units m.csv --root . --out u --teacher file", "--teacher file: found a file"),
        ("units m.csv --root . --out u --teacher hubert_local --checkpoint raw.pt", "hubert.convert raw.pt"),
        ("units m.csv --root . --out u --teacher hubert --device mps", "--device: found mps"),
        ("units m.csv --root . --out u --teacher hubert --clusters 0", "--clusters: found '0'"),
        ("units m.csv --root . --out u --teacher hubert --frames 0", "--frames: found '0'"),
        ("units m.csv --root . --out u --teacher hubert --seed 4294967296", "--seed: found '4294967296'"),
        ("units m.csv --root . --out u --teacher hubert --ratio nan", "--ratio: found nan"),
        ("units m.csv --root . --out u --teacher hubert --source head --clusters 3", "--clusters: found 3 beside"),
        ("units m.csv --root . --out file/u --teacher hubert", "--out file/u: found a file at file"),
        ("config runner --bogus", "found --bogus, which no flag takes"),
        ("supreb", "invalid choice: 'supreb'"),
    ],
)
def test_arguments_of_the_commands_that_cannot_work_are_refused(
    arguments: str, said: str, inside_place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert said in refuses(capsys, main, *arguments.split())


def test_curves_of_runs_with_one_name_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from s3prl_gendistiller.cli import curves

    monkeypatch.chdir(tmp_path)
    for folder in ("a/x", "b/x", "c/y"):
        Path(folder).mkdir(parents=True)
    labelled = curves._labelled([Path("a/x"), Path("b/x"), Path("c/y")])
    assert list(labelled) == ["a/x", "b/x", "y"]


def test_nothing_is_said_twice_after_two_calls(capsys: pytest.CaptureFixture[str]) -> None:
    """A handler that remembers the first stderr would write to a closed one."""
    for _ in range(2):
        launch.configure_logging()
    logging.getLogger("s3prl_gendistiller.x").info("once")
    assert capsys.readouterr().err.count("once") == 1
    assert os.path.basename(resume.__file__) == "resume.py"


@pytest.mark.parametrize(
    "words", ["-v curves x", "curves x -v", "curves x --verbose", "data check -v", "-v data check"]
)
def test_every_command_takes_verbose_before_and_after_its_name(words: str) -> None:
    assert parser().parse_args(words.split()).verbose
    assert not parser().parse_args([word for word in words.split() if word not in ("-v", "--verbose")]).verbose

"""`gendistiller export`: every format makes a new folder with a card, and refuses what it cannot use."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from s3prl_gendistiller.cli import main
from s3prl_gendistiller.export import EXPORT_FORMATS, ExportFormat
from s3prl_gendistiller.export.card import Card
from s3prl_gendistiller.host.students import load_student, read_settings
from s3prl_gendistiller.superb.cost import multiply_adds
from tests.export.test_hub_folder import save


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with a checkpoint, and costs without s3prl, whose globals another process should change."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(multiply_adds, "size", lambda student: (12_345, 0.25))
    save(Path("states-3.ckpt"))


def export(*arguments: object) -> int:
    return main(["export", *map(str, arguments)])


@pytest.mark.parametrize("form", ["transformers", "safetensors", "hub"])
def test_a_format_that_torch_reads_gives_the_same_student(form: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert export("states-3.ckpt", "out", "--format", form, "--steps", 2) == 0
    said = capsys.readouterr().out
    assert said.startswith("out: README.md, config.json") and "model.safetensors" in said and "part_" not in said
    wav = torch.randn(4000)
    wanted, found = (load_student(place).generate(wav, steps=2).hidden_states for place in ("states-3.ckpt", "out"))
    assert all(torch.equal(*pair) for pair in zip(wanted, found, strict=True))
    assert len(load_student("out").generate(wav).hidden_states) == 3 and read_settings("out").steps == 2
    card = Path("out/README.md").read_text()
    assert "# out" in card and "- 12,345 parameters" in card and "stops after the first 2 of them" in card


def test_scores_of_a_suite_come_into_the_card(suite_of_one: Path) -> None:
    assert export("states-3.ckpt", "out", "--format", "safetensors", "--suite", suite_of_one, "--student", "mine") == 0
    assert "| keyword spotting | acc % | 50.00 |" in Path("out/README.md").read_text()


@pytest.fixture
def suite_of_one(tmp_path: Path) -> Path:
    from tests.superb.entry.test_from_suite import write_suite
    from tests.superb.experiments import expected, expert_config, write_experiment
    from tests.superb.noise_corpora import write_ten

    data = write_ten(tmp_path / "ten")
    config = {"downstream_expert": expert_config(data, "ks")}
    run = write_experiment(tmp_path / "runs/ks", "ks", expected("ks", config).ids, data)
    return write_suite(tmp_path / "suite", tmp_path / "states-3.ckpt", {"ks": {"ks": run}})


def test_mistakes_are_named_and_nothing_is_written(capsys: pytest.CaptureFixture[str]) -> None:
    Path("broken.ckpt").write_bytes(b"PK")
    Path("there").mkdir()
    kind = ("--format", "transformers")
    for arguments, said in {
        ("states-3.ckpt", "out"): "--format",
        ("states-3.ckpt", "out", "--format", "onx"): "onx",
        ("states-3.ckpt", "there", *kind): "OUT there: already there; give a new folder",
        ("nowhere", "out", *kind): "nowhere",
        ("broken.ckpt", "out", *kind): "broken.ckpt",
        ("fbank", "out", *kind): "expected the checkpoint of a student or the folder of its run; name another place",
        ("states-3.ckpt", "out", *kind, "--steps", 4): "steps: found 4, expected 1..3",
        ("states-3.ckpt", "out", *kind, "--steps", 0): "steps: found 0, expected 1..3",
        ("states-3.ckpt", "out", *kind, "--student", "mine"): "--student: found without --suite",
        ("states-3.ckpt", "out", *kind, "--suite", "nowhere"): "nowhere",
        ("states-3.ckpt", "out", *kind, "--calibration", "."): "--calibration: found with --format transformers",
    }.items():
        assert export(*arguments) == 2
        error = capsys.readouterr().err
        assert said in error and "Traceback" not in error
        assert not Path("out").exists()


def test_a_new_format_is_one_function_and_one_row(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    toy = ExportFormat(f"{__name__}:write_toy", "a toy", calibrated=True)
    monkeypatch.setitem(EXPORT_FORMATS, "toy", toy)
    assert export("states-3.ckpt", "out", "--format", "toy") == 2
    assert "--calibration: found nothing, expected a folder" in capsys.readouterr().err
    assert export("states-3.ckpt", "out", "--format", "toy", "--calibration", ".") == 0
    assert Path("out/steps").read_text() == "None of ."


def write_toy(checkpoint: Path, folder: Path, card: Card, steps: int | None, calibration: Path) -> list[Path]:
    folder.mkdir()
    (folder / "steps").write_text(f"{steps} of {calibration}")
    return [Path("steps")]

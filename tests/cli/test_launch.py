"""What the launchers say to wrong input, before the host is touched: one message, status 2, nothing made."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest
import torch
import yaml

from s3prl_gendistiller.cli import downstream, launch, main, pretrain, resume, run_folder
from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.host.overrides import read_overrides
from s3prl_gendistiller.schema import read_layered_yaml
from tests.bench import Bench
from tests.host.test_checkpoint import save_student


@pytest.fixture
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SUPERB_DATA", raising=False)
    return tmp_path


def refused(capsys: pytest.CaptureFixture[str], status: int) -> str:
    error = capsys.readouterr().err
    assert status == 2 and "Traceback" not in error, error
    assert not Path("result").exists()
    return error


def test_an_unknown_task_lists_the_known_ones(inside: Path, capsys: pytest.CaptureFixture[str]) -> None:
    error = refused(capsys, pretrain.main(["-u", "gendistilr"]))
    assert "-u: found gendistilr, expected one of" in error and "gendistiller" in error and "distilhubert" in error
    assert "-u: found nothing" in refused(capsys, pretrain.main([]))


def test_an_unset_superb_data_is_named_with_the_way_out(inside: Path, capsys: pytest.CaptureFixture[str]) -> None:
    error = refused(capsys, pretrain.main(["-u", "gendistiller"]))
    assert "SUPERB_DATA is not set" in error and "gendistiller corpus" in error


def test_problems_of_both_files_come_together(inside: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = {"teacher": {"upstream": "x"}, "student": {"encoder_layer": 2}}
    runner = {"runner": {"total_step": 3}}
    Path("m.yaml").write_text(yaml.safe_dump(model))
    Path("r.yaml").write_text(yaml.safe_dump(runner))
    error = refused(capsys, pretrain.main(["-u", "gendistiller", "-g", "m.yaml", "-c", "r.yaml"]))
    assert "m.yaml: 1 problem" in error and "student.encoder_layer: unknown key" in error
    assert "r.yaml:" in error and "runner.total_step: unknown key; did you mean total_steps?" in error
    assert "no such file" in refused(capsys, pretrain.main(["-u", "gendistiller", "-g", "none.yaml"]))


def test_an_override_is_checked_like_the_file(
    inside: Path,
    bench: Bench,
    capsys: pytest.CaptureFixture[str],
) -> None:
    files = ["-g", str(bench.model(inside)), "-c", str(bench.runner(inside))]
    command = ["-u", "gendistiller", *files, "-o"]
    error = refused(capsys, pretrain.main([*command, "config.runner.totl_steps=9"]))
    assert "runner.totl_steps: unknown key" in error
    assert "expected key=value" in refused(capsys, pretrain.main([*command, "config.runner.total_steps"]))


def test_a_layer_that_the_teacher_lacks_is_refused(
    inside: Path,
    bench: Bench,
    capsys: pytest.CaptureFixture[str],
) -> None:
    model = bench.model(inside, distill={"target_layers": [2, 4]})
    error = refused(capsys, pretrain.main(["-u", "gendistiller", "-g", str(model), "-c", str(bench.runner(inside))]))
    assert "distill.target_layers: found 4, expected 1..3" in error


def test_a_shipped_teacher_is_known_from_any_folder(
    inside: Path, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SUPERB_DATA", str(bench.data))
    model = inside / "model.yaml"  # a student that fits the teacher
    base = "pretrain_configs/gendistiller/config_model_mini.yaml"
    model.write_text(f"base: {base}\nteacher: {{folder: teachers/hubert_guided}}\n")
    commands: list[list[str]] = []
    pretrain.main(["-u", "gendistiller", "-g", str(model), "-c", str(bench.runner(inside))], host=commands.append)
    assert commands[0][:2] == ["-u", "gendistiller"]


@pytest.mark.parametrize("task", ["gendistiller", "distilhubert"])
def test_shipped_configurations_are_known_from_any_folder(
    task: str, inside: Path, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SUPERB_DATA", str(bench.data))
    folder = f"pretrain_configs/{task}"
    commands: list[list[str]] = []
    flags = ["-g", f"{folder}/config_model_mini.yaml", "-c", f"{folder}/config_runner_mini.yaml"]
    assert pretrain.main(["-u", task, *flags], host=commands.append) == 0
    given = read_layered_yaml(commands[0][commands[0].index("-g") + 1])
    assert given["teacher"]["folder"] == "teachers/hubert_guided" and given["distill"]["target_layers"] == [2, 4, 6]


def test_a_manifest_that_is_not_there_is_named(
    inside: Path,
    bench: Bench,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SUPERB_DATA", str(bench.data))
    runner = bench.runner(inside, datarc={"sets": ["train-clean-360"]})
    error = refused(capsys, pretrain.main(["-u", "gendistiller", "-g", str(bench.model(inside)), "-c", str(runner)]))
    assert "datarc.sets: found train-clean-360, but" in error and "take the mini configuration" in error


def test_downstream_without_a_student_says_how_to_get_one(inside: Path, capsys: pytest.CaptureFixture[str]) -> None:
    error = refused(capsys, downstream.main(["-u", "gendistiller_local", "-d", "asr"]))
    assert "no gendistiller student is under" in error and "run_pretrain.py -u gendistiller" in error
    assert "-u: missing" in refused(capsys, downstream.main([]))
    assert "-d: missing" in refused(capsys, downstream.main(["-u", "fbank"]))


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["-u", "gendistiller_local", "--steps", "4"], "steps: found 4, expected 1..2: "),
        (["-u", "gendistiller_local", "--steps", "0"], "steps: found 0, expected 1..2: "),
        (["-u", "gendistiller_local", "--steps", "2", "-g", "x.yaml"], "--steps: found together with -g x.yaml"),
        (["-u", "fbank", "--steps", "2"], "--steps: found 2 with -u fbank; only gendistiller_local stops early"),
    ],
)
def test_steps_are_checked_before_anything_is_made(
    flags: list[str], message: str, inside: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_student(inside / "mine.ckpt")
    assert message in refused(capsys, downstream.main([*flags, "-k", "mine.ckpt", "-d", "asr"]))


def test_a_run_goes_on_with_the_steps_that_it_began_with(inside: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stored = argparse.Namespace(expdir="run", upstream_model_config="steps: 2")
    torch.save({"Optimizer": {}, "Step": 1, "Args": stored, "Config": {}}, "states-1.ckpt")
    commands: list[list[str]] = []
    downstream.main(["-e", "states-1.ckpt", "--steps", "2"], host=commands.append)
    assert "--steps" not in commands[0] and commands[0][:4] == ["-m", "train", "-e", "states-1.ckpt"]
    capsys.readouterr()
    error = refused(capsys, downstream.main(["-e", "states-1.ckpt", "--steps", "3"]))
    assert "--steps: found 3, but the run of states-1.ckpt began with 2" in error


def test_a_run_goes_on_without_the_model_config_that_it_began_with(inside: Path) -> None:
    """What another upstream takes as -g, or a file that has moved, is no business of a command without --steps."""
    stored = argparse.Namespace(expdir="run", upstream_model_config="moved.yaml")
    torch.save({"Optimizer": {}, "Step": 1, "Args": stored, "Config": {}}, "states-1.ckpt")
    commands: list[list[str]] = []
    assert downstream.main(["-e", "states-1.ckpt"], host=commands.append) == 0 and commands[0][2] == "-e"


def test_an_unknown_downstream_lists_the_shipped_ones(inside: Path, capsys: pytest.CaptureFixture[str]) -> None:
    error = refused(capsys, downstream.main(["-u", "fbank", "-d", "asrr"]))
    assert "-d asrr: no configuration is shipped for it (there are asr" in error


def test_downstream_data_is_checked_before_a_folder_is_made(
    inside: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SUPERB_DATA", str(inside))
    error = refused(capsys, downstream.main(["-u", "fbank", "-d", "asr"]))
    assert f"looked for {inside}/LibriSpeech" in error


@pytest.mark.parametrize("launcher", [pretrain, downstream])
def test_nothing_to_resume_is_said(launcher: object, inside: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("empty").mkdir()
    assert "found no whole states-*.ckpt" in refused(capsys, launcher.main(["-e", "empty"]))
    assert "no such checkpoint" in refused(capsys, launcher.main(["-e", "none.ckpt"]))
    torch.save({"weights": 1}, "foreign.ckpt")
    assert "found no Optimizer, Step, Args, Config" in refused(capsys, launcher.main(["-e", "foreign.ckpt"]))


def test_names_are_chosen_so_that_nothing_is_overwritten(tmp_path: Path) -> None:
    assert launch.free_name(tmp_path, "x") == "x"
    (tmp_path / "x").mkdir()
    (tmp_path / "x-2").mkdir()
    assert launch.free_name(tmp_path, "x") == "x-3"
    (tmp_path / "x" / "states-3.ckpt").touch()
    with pytest.raises(UserError, match="Add -a to go on with it"):
        resume.refuse_to_overwrite(tmp_path / "x")


def test_a_folder_is_taken_back_only_if_it_is_new_and_holds_no_checkpoint(tmp_path: Path) -> None:
    for existed, checkpoint, kept in ((False, False, False), (False, True, True), (True, False, True)):
        folder = tmp_path / f"{existed}{checkpoint}"
        if existed:
            folder.mkdir()
        with pytest.raises(UserError), run_folder.new_folder(folder):
            folder.mkdir(exist_ok=True)
            (folder / "config.yaml").touch()
            if checkpoint:
                (folder / "states-1.ckpt").touch()
            raise UserError("stop")
        assert folder.exists() == kept


def test_a_folder_with_hours_of_training_in_it_stays(tmp_path: Path) -> None:
    def fail(folder: Path, *, begun: bool = False, file: str = "config.yaml") -> bool:
        with pytest.raises(UserError), run_folder.new_folder(folder):
            (folder / file).touch()
            error = UserError("stop")
            error.begun = begun
            raise error
        return folder.exists()

    assert not fail(tmp_path / "a")
    assert fail(tmp_path / "b", begun=True) and fail(tmp_path / "c", file="metrics.jsonl")


def test_two_runs_do_not_train_in_one_folder_and_the_refused_one_takes_nothing_away(tmp_path: Path) -> None:
    with run_folder.new_folder(tmp_path / "run"):
        (tmp_path / "run/config.yaml").touch()
        with (
            pytest.raises(UserError, match="another run trains in that folder"),
            run_folder.new_folder(tmp_path / "run"),
        ):
            pass
        with run_folder.new_folder(tmp_path / "run", trains=False):  # an evaluation during training
            pass
        assert (tmp_path / "run/config.yaml").exists()


def test_a_moved_run_is_resumed_where_it_lies(tmp_path: Path) -> None:
    path = tmp_path / "states-1.ckpt"
    begun = argparse.Namespace(expdir="/somewhere/else")
    assert resume.resume_overrides(begun, path, read_overrides("config.a=1"), "cpu") == (
        f"args.device='cpu',,args.expdir='{tmp_path}',,config.a=1"
    )
    begun = argparse.Namespace(expdir=str(tmp_path))
    assert resume.resume_overrides(begun, path, read_overrides(None), "cuda") == "args.device='cuda'"


def test_every_command_has_help_with_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("demo", "config", "manifest", "curves", "link", "unlink"):
        with pytest.raises(SystemExit) as caught:
            main([command, "--help"])
        assert caught.value.code == 0
        assert f"gendistiller {command}" in capsys.readouterr().out.split("example", 1)[1]


def test_config_prints_a_configuration_that_is_valid_with_every_objective(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["config", "gendistiller"]) == 0
    path = tmp_path / "m.yaml"
    printed = capsys.readouterr().out
    path.write_text(printed)
    assert main(["config", "gendistiller", "--check", str(path)]) == 0
    path.write_text(
        printed.replace("  # - name", "  - name").replace("  #   ", "    ").replace("units: null", "units: u")
    )
    assert all(f"  - name: {name}" in path.read_text() for name in ("layerwise", "ckd", "glmd"))
    assert main(["config", "gendistiller", "--check", str(path)]) == 0
    path.write_text("teacher: {}\n")
    assert main(["config", "gendistiller", "--check", str(path)]) == 2
    assert "expected one: an s3prl upstream or a local folder" in capsys.readouterr().err

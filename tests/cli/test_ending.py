"""The beginning and the end of a run, as the launchers tell them: new, going on, finished."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from s3prl_gendistiller.cli import downstream, pretrain
from s3prl_gendistiller.cli.ending import last_lines
from s3prl_gendistiller.cli.resume import finished
from s3prl_gendistiller.distill.metrics import append_metrics
from s3prl_gendistiller.host.overrides import read_overrides
from tests.cli.places import FBANK, never, save_run
from tests.host.test_checkpoint import save_student

GEN = ("-u", "gendistiller", "-g", "gendistiller_model.yaml", "-c", "gendistiller_runner.yaml")


def said(capsys: pytest.CaptureFixture[str]) -> list[str]:
    lines = capsys.readouterr().err.splitlines()
    return [line.removeprefix("[gendistiller] ") for line in lines if line.startswith("[gendistiller]")]


def test_the_last_lines_of_a_distillation_name_student_loss_and_next_command(
    inside_place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("gendistiller_model.yaml", "gendistiller_runner.yaml"):
        Path(name).symlink_to(inside_place / name)

    def host(command: Sequence[str]) -> None:
        folder = Path(command[command.index("-p") + 1])
        folder.mkdir(parents=True, exist_ok=True)
        save_student(folder / "states-6.ckpt", step=6)
        for step, loss in ((2, 4.0), (4, 3.5), (6, 3.0)):
            append_metrics(folder, "train", step, {"loss": 9.0})
            append_metrics(folder, "valid", step, {"loss": loss})

    assert pretrain.main([*GEN, "-n", "my student", "--device", "cpu"], host=host) == 0
    assert said(capsys)[-3:] == [
        "the student is in result/pretrain/my student/states-6.ckpt (step 6)",
        "held-out loss 4 at step 2, 3 at step 6 (25% lower)",
        "next: run_downstream.py -u gendistiller_local -k 'result/pretrain/my student/states-6.ckpt' -d asr"
        " -c downstream_runs/asr/small.yaml",
    ]


@pytest.mark.parametrize(
    ("entries", "line"),
    [
        ([], "no loss was logged"),
        (
            [("train", 2, 8.0), ("train", 4, 4.0)],
            "training loss, without held-out speech: 8 at step 2, 4 at step 4 (50",
        ),
        ([("train", 2, 8.0), ("valid", 4, 4.0)], "held-out loss 4 at step 4, the only one"),
        (
            [("valid", 2, 4.0), ("valid", 999, 5.0)],
            "held-out loss 4 at step 2, the only one",
        ),  # of a killed, longer run
        ([("valid", 2, 4.0), ("valid", 4, 5.0)], "held-out loss 4 at step 2, 5 at step 4 (25% higher)"),
    ],
)
def test_a_run_is_compared_with_its_start(entries: list[tuple[str, int, float]], line: str, tmp_path: Path) -> None:
    save_student(tmp_path / "states-4.ckpt", step=4)
    (tmp_path / "metrics.jsonl").touch()
    for split, step, loss in entries:
        append_metrics(tmp_path, split, step, {"loss": loss})
    lines = list(last_lines(tmp_path, "cuda"))
    assert lines[1].startswith(line) and lines[2].endswith("-d asr")


def test_a_run_too_short_for_its_held_out_speech_says_so(tmp_path: Path) -> None:
    data = {"valid_sets": ["held_out"], "valid_step": 200}
    save_student(tmp_path / "states-4.ckpt", step=4, Config={"pretrain_expert": {"datarc": data}})
    append_metrics(tmp_path, "train", 4, {"loss": 4.0})
    line = list(last_lines(tmp_path, "cpu"))[1]
    assert line.startswith("training loss (held-out speech is scored every 200 steps, valid_step): 4 at step 4")


def test_a_folder_without_a_student_has_less_to_say(tmp_path: Path) -> None:
    assert list(last_lines(tmp_path, "cpu")) == []
    save_student(tmp_path / "states-4.ckpt", step=4, GenDistiller=None, Tera={})
    assert list(last_lines(tmp_path, "cpu")) == [f"the newest checkpoint is in {tmp_path}/states-4.ckpt (step 4)"]


def test_a_finished_run_is_told_and_how_to_make_it_longer(
    inside_place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = save_run(tmp_path / "run/states-800.ckpt")
    _finish(run, 800)
    assert downstream.main(["-p", str(run.parent), "-a"], host=never) == 0
    line = said(capsys)[-1]
    assert "step 800 of 800 is done, the run is finished; run_downstream.py -e " in line
    flags = line.partition("run_downstream.py ")[2].removesuffix(" makes it longer").split()
    commands: list[Sequence[str]] = []
    assert downstream.main(flags, host=commands.append) == 0 and "config.runner.total_steps=1600" in commands[0][-1]
    assert downstream.main(["-e", str(run), "-m", "evaluate", "-t", "dev-clean"], host=commands.append) == 0
    _finish(run, 799)
    assert downstream.main(["-p", str(run.parent), "-a"], host=commands.append) == 0 and len(commands) == 3


def _finish(run: Path, step: int) -> None:
    torch.save({**torch.load(run, weights_only=False), "Step": step}, run)


def test_a_name_that_does_not_exist_begins_a_new_run(
    inside_place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_run(tmp_path / "my_students/states-1.ckpt")
    commands: list[Sequence[str]] = []
    assert downstream.main([*FBANK, "-p", str(tmp_path / "my_student"), "-a"], host=commands.append) == 0
    assert f"-a: found no checkpoint in {tmp_path}/my_student: begins a new run (did you mean my_students?)" in said(
        capsys
    )
    assert commands and "-e" not in commands[0]
    assert downstream.main([*FBANK[:2], "-d", "no_task", "-p", str(tmp_path / "my_student2"), "-a"]) == 2
    # also where the command is then refused
    assert "begins a new run (did you mean my_students?)" in "\n".join(said(capsys))


@pytest.mark.parametrize(
    ("states", "override", "longer"),
    [
        ({"GenDistiller": {}, "Step": 10}, None, "total_steps=20"),
        ({"GenDistiller": {}, "Step": 9}, None, ""),
        ({"Step": 9}, None, "total_steps=20"),  # s3prl's own tasks store the step before the last one
        ({"Step": 8}, None, ""),
        ({"GenDistiller": {}, "Step": 10, "n_epochs": 2}, None, "n_epochs=4"),
        ({"GenDistiller": {}, "Step": 10}, "config.runner.total_steps=12", ""),
        ({"GenDistiller": {}, "Step": 10, "total_steps": None}, None, ""),
    ],
)
def test_a_run_is_finished_when_its_last_step_is_done(
    states: dict, override: str | None, longer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = {"total_steps": 10, "n_epochs": -1}
    runner |= {name: value for name, value in states.items() if name in runner}
    stored = {**states, "Config": {"runner": runner}}
    monkeypatch.chdir(tmp_path)
    line = finished(stored, Path("run/states-10.ckpt"), read_overrides(override), "run_pretrain.py")
    assert line.endswith(f"run_pretrain.py -e run -o config.runner.{longer} makes it longer") if longer else not line

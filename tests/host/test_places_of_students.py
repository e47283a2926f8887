"""Places from which `load_student` takes a student: a checkpoint, the folder of a run, an exported folder."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from hubert.random_teacher import write_random_teacher
from s3prl_gendistiller import load_student
from s3prl_gendistiller.errors import ConfigError, UserError
from s3prl_gendistiller.export.card import Card
from s3prl_gendistiller.export.hub_folder import write_hub_folder
from s3prl_gendistiller.host.students import check_steps, read_settings, student_place
from s3prl_gendistiller.host.upstream_expert import UpstreamExpert
from s3prl_gendistiller.host.upstream_files import check_file, count_states
from s3prl_gendistiller.host.upstreams import LAUNCHER
from tests.bench import TINY_TEACHER
from tests.host.test_checkpoint import save_student

CARD = Card("mine", 123_456, 0.5, 8, [("KS", "acc %", "50.00")], "preset small")
WAV = torch.randn(4000, generator=torch.Generator().manual_seed(0)) / 10


def test_a_checkpoint_its_run_and_its_export_give_the_same_student(tmp_path: Path) -> None:
    save_student(tmp_path / "run" / "states-2.ckpt", step=2)
    checkpoint = save_student(tmp_path / "run" / "states-3.ckpt", step=3)
    write_hub_folder(checkpoint, tmp_path / "exported", CARD)
    students = [load_student(place) for place in (checkpoint, tmp_path / "run", str(tmp_path / "exported"))]
    wanted, *others = [student.generate(WAV).hidden_states for student in students]
    assert all(not student.training for student in students) and len(wanted) == 3
    assert all(torch.equal(*pair) for other in others for pair in zip(wanted, other, strict=True))


def test_an_export_generates_as_many_layers_as_it_states_unless_told(tmp_path: Path) -> None:
    write_hub_folder(save_student(tmp_path / "states-3.ckpt"), tmp_path / "exported", CARD, steps=1)
    student = load_student(tmp_path / "exported")
    assert len(student.generate(WAV).hidden_states) == 2 and len(student.generate(WAV, steps=2).hidden_states) == 3
    upstream = UpstreamExpert(str(tmp_path / "exported")).eval()
    with torch.no_grad():
        assert len(upstream([WAV])["hidden_states"]) == 2


def _change(**changes: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        content = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**content, **changes}))

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            _change(task="later"),
            "config.json: found the student 'later', expected gendistiller or distilhubert; upgrade",
        ),
        (_change(steps=3), r"steps: found 3, expected 1\.\.2"),
        (_change(steps=True), r"steps: found True, expected 1\.\.2"),
        (
            _change(config={"teacher": {"folder": "x"}, "student": {"depth": 3}}),
            r"config\.json: 1 problem\n +student\.depth: unknown key",
        ),
        (_change(config="config.json"), "config.json of another kind of model"),
        (lambda folder: (folder / "config.json").write_text("[]"), "config.json of another kind of model"),
        (lambda folder: (folder / "model.safetensors").unlink(), "model.safetensors: cannot be read"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"12345678 "), "model.safetensors: cannot be read"),
    ],
)
def test_a_damaged_export_is_named(tmp_path: Path, change: Callable[[Path], None], message: str) -> None:
    write_hub_folder(save_student(tmp_path / "states-3.ckpt"), tmp_path / "exported", CARD)
    change(tmp_path / "exported")
    with pytest.raises((UserError, ConfigError), match=message):
        load_student(tmp_path / "exported")


def test_a_place_without_a_student_is_told_what_is_taken(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"found a folder without a whole states-\*\.ckpt and without config\.json"):
        load_student(tmp_path)
    write_random_teacher(tmp_path / "teacher", **TINY_TEACHER)
    with pytest.raises(UserError, match=r"another kind of model, expected .* with transformers\.AutoModel"):
        load_student(tmp_path / "teacher")
    with pytest.raises(UserError, match="no such checkpoint"):
        load_student("result/pretrain/none")


def test_an_export_is_an_upstream_of_its_own(tmp_path: Path) -> None:
    exported = str(tmp_path / "exported")
    write_hub_folder(save_student(tmp_path / "states-3.ckpt"), Path(exported), CARD, steps=1)
    state = torch.get_rng_state()
    check_file("gendistiller_local", exported, LAUNCHER)
    assert torch.equal(torch.get_rng_state(), state)  # or a head would begin with other weights
    assert [count_states("gendistiller_local", exported, steps) for steps in (None, 2)] == [2, 3]
    check_steps(2, exported)
    with pytest.raises(UserError, match=r"steps: found 3, expected 1\.\.2"):
        check_steps(3, exported)
    for upstream in ("distiller_local", "hubert_local"):
        with pytest.raises(UserError, match="-k .*it holds an exported student; give -u gendistiller_local"):
            check_file(upstream, exported, LAUNCHER)
    (tmp_path / "exported" / "model.safetensors").unlink()
    with pytest.raises(UserError, match="model.safetensors: cannot be read"):
        check_file("gendistiller_local", exported, LAUNCHER)


def test_the_place_of_a_run_is_its_newest_checkpoint(tmp_path: Path) -> None:
    newest = save_student(tmp_path / "run" / "states-3.ckpt")
    write_hub_folder(newest, tmp_path / "exported", CARD)
    assert student_place(tmp_path / "run") == newest == student_place(newest)
    assert student_place(tmp_path / "exported") == tmp_path / "exported"
    with pytest.raises(UserError, match="found a folder without a whole"):
        student_place(tmp_path)
    assert read_settings(newest).config.student == read_settings(tmp_path / "exported").config.student

"""A student of another width than its teacher: what is trained, stored, gone on with, used and measured."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from s3prl_gendistiller import load_student
from s3prl_gendistiller.distill.task import DistillTask, score
from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.export.card import Card
from s3prl_gendistiller.export.hub_folder import write_hub_folder
from s3prl_gendistiller.host.layers import load_upstream
from s3prl_gendistiller.host.objectives import NoDistanceError, distance_objective
from s3prl_gendistiller.host.pretrain_expert import PretrainExpert
from s3prl_gendistiller.student_kinds import STUDENT_KINDS
from tests.host.test_pretrain_expert import train

Make = Callable[..., PretrainExpert]
NARROW = {"encoder_embed_dim": 12, "dropout": 0.0, "attention_dropout": 0.0, "activation_dropout": 0.0}
MAPS = {f"0.projection.maps.layer{layer}.{part}" for layer in (1, 3) for part in ("weight", "bias")}


def saved(expert: PretrainExpert) -> dict[str, Any]:
    return expert.add_state_to_save({"Optimizer": {}, "Step": 1, "Config": {}})


@pytest.mark.parametrize("width", [16, 32])  # the convolutions are 16 wide
@pytest.mark.parametrize("task", STUDENT_KINDS)
def test_student_and_projection_are_trained_together(
    task: str,
    width: int,
    make: Make,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.INFO):
        expert = make(task, student={**NARROW, "encoder_embed_dim": width}, datarc={"valid_step": 6})
    count = 2 * (width + 1) * 24
    assert (
        f"layerwise: 2 projections from the student's {width} channels to the teacher's 24, {count:,} par"
        in caplog.text
    )
    before = {name: value.clone() for name, value in expert.model.state_dict().items()}
    losses = train(expert, 12)
    assert sum(losses[-4:]) < sum(losses[:4])
    trained = dict(expert.model.named_parameters())
    assert {f"objectives.{name}" for name in MAPS} <= trained.keys()
    assert [name for name, value in trained.items() if torch.equal(value, before[name])] == []
    reports = expert._valid_reports
    assert {"l1_layer1", "cosine_layer3"} <= reports[-1][1].keys() and reports[-1][1]["loss"] < reports[0][1]["loss"]


@pytest.mark.parametrize("task", STUDENT_KINDS)
def test_a_run_goes_on_with_its_projection_and_a_student_in_use_has_none(task: str, make: Make, tmp_path: Path) -> None:
    narrow = {"student": {**NARROW, "dropout": 0.1}}
    expected = train(make(task, **narrow), 6)
    first = make(task, **narrow)
    assert train(first, 4) == expected[:4]
    states, second = saved(first), make(task, **narrow)
    assert states["Objectives"].keys() == MAPS
    second.load_model(states)
    assert train(second, 2, first=5) == expected[4:]

    kind, path = STUDENT_KINDS[task], tmp_path / "x.ckpt"
    assert not any("projection.maps" in name for name in states[kind.weights])
    torch.save(states, path)
    wav = 0.1 * torch.randn(8000)
    output = load_student(path).generate(wav[None])
    assert {state.shape[-1] for state in output.hidden_states} == {12}
    with torch.no_grad():
        found = load_upstream(kind.upstream, path)([wav])["hidden_states"]
    assert len(found) == len(output.hidden_states)
    for state, wanted in zip(found, output.hidden_states, strict=True):
        torch.testing.assert_close(state, wanted, atol=1e-5, rtol=1e-4)


def test_the_exported_folder_holds_the_student_alone(make: Make, tmp_path: Path) -> None:
    path, out = tmp_path / "x.ckpt", tmp_path / "hub"
    torch.save(saved(make(student=NARROW)), path)
    write_hub_folder(path, out, Card("mine", 123_456, 0.5, 8, [], "preset small"))
    assert not any(b"projection.maps" in file.read_bytes() for file in out.rglob("*") if file.is_file())
    assert "(B, T, 12)" in (out / "README.md").read_text()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda stored: None, "holds no Objectives, expected the heads and projections"),
        (lambda stored: {}, "4 weights do not fit its own Upstream_Config: 0.projection.maps.layer1.bias is missing"),
        (lambda stored: {**stored, "1.x": torch.zeros(1)}, "1.x is not part of these objectives"),
        (lambda stored: {name: value[:3] for name, value in stored.items()}, r"is \(3,\), expected \(24,\)"),
        (lambda stored: {name: value * torch.nan for name, value in stored.items()}, "found NaN in the weight 0.proj"),
    ],
)
def test_a_checkpoint_with_another_projection_is_refused_and_nothing_is_loaded(
    change: Callable[[dict], Any],
    said: str,
    make: Make,
) -> None:
    expert = make(student=NARROW)
    states, before = saved(expert), [value.clone() for value in expert.model["objectives"].parameters()]
    changed = {**states, "Objectives": change(states["Objectives"])}
    with pytest.raises(UserError, match=said):
        expert.load_model({name: value for name, value in changed.items() if value is not None})
    assert all(map(torch.equal, expert.model["objectives"].parameters(), before))


@pytest.mark.parametrize("task", STUDENT_KINDS)
def test_the_front_end_alone_is_trained_behind_its_own_projection(task: str, make: Make) -> None:
    expert = make(task, student=NARROW, distill={"front_end_steps": 20}, datarc={"valid_step": 100})
    losses = train(expert, 15)
    assert sum(losses[-5:]) < sum(losses[:5])
    states = saved(expert)
    own = {f"1.projection.maps.layer0.{part}" for part in ("weight", "bias")}
    assert states["Objectives"].keys() == MAPS | own
    again = make(task, student=NARROW, distill={"front_end_steps": 20})
    again.load_model(states)
    batch = next(iter(again.get_train_dataloader()))
    loss, _ = again(batch, records={}, global_step=20, log_step=1)
    loss.backward()
    touched = {name for name, value in again.model["objectives"].named_parameters() if value.grad is not None}
    assert touched == own
    assert "l1_layer0" not in score(again.task, [batch], "cpu")


@pytest.mark.parametrize("projection", ["layer", "shared"])
def test_the_distance_is_what_training_measured(projection: str, make: Make) -> None:
    targets = {"target_layers": [1, 2, 3]}
    entries = [{"name": "ckd"}, {"name": "layerwise", "weight": 0.5, "projection": projection}]
    expert = make(student=NARROW, distill=targets, objectives=entries)
    train(expert, 5)
    batches = [next(iter(expert.get_train_dataloader()))]
    measured, states, teacher = score(expert.task, batches, "cpu"), saved(expert), expert.task.teacher
    objective = distance_objective(expert.config, states, teacher, "x")
    task = DistillTask(expert.model["student"], teacher, nn.ModuleList([objective]), (1, 2, 3))
    found = score(task, batches, "cpu")
    parts = [found[f"{part}_layer{layer}"] for part in ("l1", "cosine_loss") for layer in (1, 2, 3)]
    assert found.pop("loss") == pytest.approx(sum(parts) / 3)
    assert found == pytest.approx({name: measured[name] for name in found}) and len(found) == 9


def test_a_student_without_a_projection_has_no_distance(make: Make) -> None:
    expert = make(student=NARROW, distill={"target_layers": [1, 2, 3]}, objectives=[{"name": "ckd"}])
    with pytest.raises(NoDistanceError, match="x.ckpt: found a student 12 wide and a teacher 24 wide without a proj"):
        distance_objective(expert.config, saved(expert), expert.task.teacher, "x.ckpt")
    alike = make(distill={"target_layers": [1, 2, 3]}, objectives=[{"name": "ckd"}])
    assert not distance_objective(alike.config, saved(alike), alike.task.teacher, "x").state_dict()


def test_equal_widths_train_as_before_whatever_the_key_says(make: Make) -> None:
    losses = [train(make(objectives=[{"name": "layerwise", "projection": kind}]), 3) for kind in ("layer", "shared")]
    assert losses[0] == losses[1]
    assert "Objectives" not in saved(make(distill={"front_end_steps": 2}))


@pytest.mark.parametrize("normed", [False, True])
def test_a_baseline_as_wide_as_its_convolutions_is_trained_and_read_by_its_upstream(
    normed: bool, make: Make, tmp_path: Path
) -> None:
    expert = make("distilhubert", student={**NARROW, "encoder_embed_dim": 16, "feature_norm": normed})
    train(expert, 2)
    projection = expert.model["student"].distiller.post_extract_proj
    assert (projection is None) != normed
    path, wav = tmp_path / "x.ckpt", 0.1 * torch.randn(8000)
    torch.save(saved(expert), path)
    upstream = STUDENT_KINDS["distilhubert"].upstream_for({"feature_norm": normed})
    with torch.no_grad():
        found = load_upstream(upstream, path)([wav])["hidden_states"]
    for state, wanted in zip(found, load_student(path).generate(wav[None]).hidden_states, strict=True):
        torch.testing.assert_close(state, wanted, atol=1e-5, rtol=1e-4)

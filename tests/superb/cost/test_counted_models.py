from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml
from torch.nn import Module

from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.host.baseline import host_config
from s3prl_gendistiller.host.layers import load_upstream
from s3prl_gendistiller.host.students import build_student
from s3prl_gendistiller.superb.cost.counted_models import CountedModel, counted_models, model_sources, model_task
from s3prl_gendistiller.superb.cost.multiply_adds import count
from s3prl_gendistiller.superb.models import find_models
from tests.conftest import ROOT
from tests.host.test_checkpoint import CONFIG, save_student

WAV = [torch.randn(4_000, generator=torch.Generator().manual_seed(0))]


def rows(given: list[str], configs: list[str], steps: list[int | str]) -> list[CountedModel]:
    return [row for source in model_sources(find_models(given), configs, steps) for row in counted_models(source)]


def in_s3prl(upstream: str, path: Path, steps: int | None = None) -> tuple[int, int]:
    expert: Module = load_upstream(upstream, path, steps)
    return sum(parameter.numel() for parameter in expert.parameters()), count(expert, WAV).multiply_adds


def test_a_student_takes_what_its_upstream_in_s3prl_takes(tmp_path: Path) -> None:
    path = save_student(tmp_path / "states-3.ckpt")
    found = rows([f"mine={path}"], [], ["all"])
    assert [row.steps for row in found] == [1, 2]
    for row in found:
        assert (row.parameters, count(row.expert, WAV).multiply_adds) == in_s3prl("gendistiller_local", path, row.steps)


def test_a_baseline_is_counted_with_and_without_heads(tmp_path: Path) -> None:
    student = build_student(CONFIG, task="distilhubert")
    weights = {"Distiller": student.distiller.state_dict(), "GenDistiller": None, "Upstream_Config": CONFIG}
    path = save_student(tmp_path / "states-3.ckpt", **weights, Config=host_config(student.config))
    whole, bare = rows([f"base={path}"], [], ["all"])
    assert (whole.name, bare.name) == ("base", "base, without heads") and whole.steps is bare.steps is None
    assert (whole.parameters, count(whole.expert, WAV).multiply_adds) == in_s3prl("distiller_local", path)
    frames = 12  # of 4,000 samples
    heads = 24 * 2 * 24 + 2 * 24 * 24  # two targets at width 24: a shared layer, then one each
    assert count(whole.expert, WAV).multiply_adds - count(bare.expert, WAV).multiply_adds == frames * heads
    assert whole.parameters - bare.parameters == heads + 2 * 24 + 2 * 24


def test_a_configuration_is_counted_before_it_is_trained(tmp_path: Path) -> None:
    config = tmp_path / "small.yaml"
    config.write_text(yaml.safe_dump(CONFIG))
    (row,) = rows([], [str(config)], [])
    (trained,) = rows([f"mine={save_student(tmp_path / 'states-3.ckpt')}"], [], [])
    assert (row.name, row.steps, row.parameters) == ("small", 2, trained.parameters)
    assert count(row.expert, WAV).multiply_adds == count(trained.expert, WAV).multiply_adds


def test_only_the_steps_asked_for_are_rows(tmp_path: Path) -> None:
    path = save_student(tmp_path / "states-3.ckpt")
    assert [row.steps for row in rows([f"a={path}@1", f"b={path}"], [], ["all"])] == [1, 1, 2]
    assert [row.steps for row in rows([f"b={path}", "fbank"], [], [2])] == [2, None]


@pytest.mark.parametrize(
    ("path", "task"),
    [
        ("gendistiller/config_model.yaml", "gendistiller"),
        ("distilhubert/config_model_mini.yaml", "distilhubert"),
        ("ablations/plain.yaml", "gendistiller"),
        ("ablations/distilhubert_norms.yaml", "distilhubert"),
    ],
)
def test_the_kind_of_a_configuration_is_that_of_its_recipe(path: str, task: str) -> None:
    assert model_task(ROOT / "pretrain_configs" / path) == task


@pytest.mark.parametrize(("key", "task"), [("encoder_layers", "distilhubert"), ("encoder_embed_dim", "gendistiller")])
def test_else_its_keys_decide(key: str, task: str, tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text(f"student: {{{key}: 4}}")
    assert model_task(tmp_path / "x.yaml") == task


def test_shipped_names_are_told_apart() -> None:
    found = model_sources(
        [], [f"pretrain_configs/{task}/config_model.yaml" for task in ("gendistiller", "distilhubert")], []
    )
    assert [(source.name, source.steps) for source in found] == [("gendistiller", (3,)), ("distilhubert", ())]


def test_all_problems_are_reported_at_once(tmp_path: Path) -> None:
    path = save_student(tmp_path / "states-3.ckpt")
    (tmp_path / "bad.yaml").write_text("teacher: {folder: x}\nstudent: {encoder_embed_din: 4}")
    with pytest.raises(UserError) as caught:
        model_sources(
            find_models([f"a={path}", "fbank"]),
            [f"fbank={tmp_path / 'bad.yaml'}", f"a={tmp_path / 'x.yaml'}"],
            [3, 1],
        )
    message = str(caught.value)
    assert "--steps: found 3, expected 1..2, what a generates" in message
    assert "encoder_embed_dim?" in message and "x.yaml: no such file" in message
    (tmp_path / "x.yaml").write_text(yaml.safe_dump(CONFIG))
    with pytest.raises(UserError, match="a: the name is taken"):
        model_sources(find_models([f"a={path}"]), [f"a={tmp_path / 'x.yaml'}"], [])

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from hubert.random_teacher import write_random_teacher
from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.export.card import Card
from s3prl_gendistiller.export.hub_folder import write_hub_folder
from s3prl_gendistiller.host.baseline import host_config
from s3prl_gendistiller.host.layers import count_hidden_states, load_upstream
from s3prl_gendistiller.host.students import build_student
from s3prl_gendistiller.host.upstream_files import count_states
from s3prl_gendistiller.schema import merge
from s3prl_gendistiller.superb.cost.counted_models import counted_models, model_sources
from s3prl_gendistiller.superb.models import BenchmarkedModel, find_models
from tests.bench import TINY_TEACHER
from tests.host.test_checkpoint import CONFIG, save_student


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return save_student(tmp_path / "run" / "states-3.ckpt")


def test_a_checkpoint_a_run_and_an_upstream_are_told_apart(checkpoint: Path) -> None:
    mine, newest, fbank = find_models([f"mine={checkpoint}", f"newest={checkpoint.parent}", "fbank"])
    assert mine.flags() == ["-u", "gendistiller_local", "-k", str(checkpoint)]
    assert newest.flags() == mine.flags()
    assert (fbank.name, fbank.flags()) == ("fbank", ["-u", "fbank"])


def test_an_exported_student_is_a_model(checkpoint: Path, tmp_path: Path) -> None:
    write_hub_folder(checkpoint, tmp_path / "hub", Card("mine", 1, 0.5, 8, [], ""), steps=1)
    exported, one = find_models([f"mine={tmp_path / 'hub'}", f"one={tmp_path / 'hub'}@1"])
    assert exported.flags() == ["-u", "gendistiller_local", "-k", str(tmp_path / "hub")] and not exported.baseline
    assert one.steps == 1 and exported.fingerprint() != one.fingerprint()
    assert count_hidden_states(exported.upstream, exported.checkpoint) == 2
    (source,) = model_sources([exported], [], [])
    assert source.steps == (1,) and [row.steps for row in counted_models(source)] == [1]
    with pytest.raises(UserError, match=r"steps: found 9, expected 1\.\.2"):
        find_models([f"mine={tmp_path / 'hub'}@9"])


@pytest.mark.parametrize(
    ("changes", "upstream"),
    [
        ({}, "distiller_local"),
        ({"out_layer_type": "linear"}, "gendistiller_local"),
        ({"feature_norm": True}, "gendistiller_local"),
        ({"front_end": "thin", "thin_channels": [8] * 7}, "gendistiller_local"),
    ],
)
def test_a_baseline_is_loaded_by_whom_it_fits_and_gives_its_last_layer(
    changes: dict, upstream: str, tmp_path: Path
) -> None:
    config = merge(CONFIG, {"student": changes})
    student = build_student(config, task="distilhubert")
    weights = {"Distiller": student.distiller.state_dict(), "GenDistiller": None, "Upstream_Config": config}
    path = save_student(tmp_path / "states-3.ckpt", **weights, Config=host_config(student.config))
    (found,) = find_models([f"base={path}"])
    assert found.upstream == upstream and found.flags("last")[-2:] == ["-s", "paper"]
    assert count_states(found.upstream, str(path), None) == 5  # frames, two layers, two heads
    expert, wav = load_upstream(found.upstream, found.checkpoint), torch.randn(4000)
    with torch.no_grad():
        states = expert([wav])
        expected = student.generate(wav[None]).hidden_states
    assert torch.allclose(states["paper"], expected[2], atol=1e-5) and len(states["hidden_states"]) == 5
    with pytest.raises(UserError, match="found @1 after .* which is no GenDistiller"):
        find_models([f"base={path}@1"])


def test_a_transformers_folder_is_read_by_its_model_type(tmp_path: Path) -> None:
    for kind in ("hubert", "wavlm", "wav2vec2"):
        folder = write_random_teacher(tmp_path / kind, model_type=kind, **TINY_TEACHER)
        assert find_models([f"teacher={folder}"])[0].flags() == ["-u", "transformers_local", "-k", str(folder)]
    (folder / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(UserError, match="bert"):
        find_models([f"teacher={folder}"])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["mine=none/here.ckpt"], "no such file or folder; expected a checkpoint of run_pretrain.py"),
        (["a/b=fbank"], "expected letters, digits"),
        (["..=fbank"], "found the name '..', expected letters"),
        ([".hidden=fbank"], "expected letters"),
        (["-x=fbank"], "a letter or digit first"),
        ([f"{'a' * 101}=fbank"], "100 at most"),
        (["a\x1b[2J=fbank"], r"found control characters in it"),
        (["a=fb\nank"], "found control characters in it"),
        (["fbank", "fbank"], "--student fbank: the name fbank is taken; give each model its own"),
        (["mine.2=fbank", "mine=mfcc", "mine=mel"], "the name mine.2 is taken"),
        (["mine+seed2=fbank"], "the name mine.seed2, which is kept for a seed of heads"),
        (["mine=."], r"holds no whole states-\*.ckpt and no config.json"),
    ],
)
def test_a_mistake_is_named(given: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=message):
        find_models(given)


def test_the_first_layers_of_a_student_are_a_student_too(checkpoint: Path, tmp_path: Path) -> None:
    whole, first = find_models([f"mine={checkpoint}", f"first={checkpoint}@1"])
    assert first.checkpoint == whole.checkpoint and (whole.steps, first.steps) == (None, 1)
    assert first.flags("last")[-4:] == ["--steps", "1", "-l", "-1"] and "--steps" not in whole.flags()
    assert first.fingerprint() == f"{whole.fingerprint()} steps 1"
    with pytest.raises(UserError, match=r"steps: found 3, expected 1\.\.2"):
        find_models([f"mine={checkpoint}@3"])
    with pytest.raises(UserError, match="found @2 after fbank, which is no GenDistiller"):
        find_models(["mine=fbank@2"])
    odd = tmp_path / "mine@2"
    odd.write_bytes(checkpoint.read_bytes())
    assert find_models([f"mine={odd}"])[0].steps is None


def test_seeds_of_one_kind_are_known_by_the_number_after_the_last_dot() -> None:
    names = {"mine.1": "mine", "mine.23": "mine", "mine": "mine", "v1.5.2": "v1.5", "mine.a": "mine.a", ".1": ".1"}
    assert {name: BenchmarkedModel(name, "x").group for name in names} == names


def test_the_last_layer_is_the_students_own_and_no_prediction_head() -> None:
    assert BenchmarkedModel("a", "gendistiller_local").flags("last")[-2:] == ["-l", "-1"]
    assert BenchmarkedModel("a", "distiller_local", baseline=True).flags("last")[-2:] == ["-s", "paper"]


def test_another_content_has_another_fingerprint(checkpoint: Path) -> None:
    before = find_models([f"a={checkpoint}"])[0].fingerprint()
    save_student(checkpoint, step=4)
    assert find_models([f"b={checkpoint}"])[0].fingerprint() != before
    assert BenchmarkedModel("fbank", "fbank").fingerprint() == "fbank"

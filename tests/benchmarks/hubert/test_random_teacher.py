"""Random teachers, which stand in for trained ones in tests."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from hubert.random_teacher import write_random_like, write_random_teacher
from s3prl_gendistiller.distill.transformers_teacher import load_transformers_teacher
from s3prl_gendistiller.errors import UserError
from tests.bench import TINY_TEACHER

Audio = tuple[torch.Tensor, torch.Tensor]


def write(folder: Path, **changes: object) -> Path:
    return write_random_teacher(folder, **{**TINY_TEACHER, **changes})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write(tmp_path / "teacher")


def test_the_seed_alone_decides_the_weights(tmp_path: Path) -> None:
    before = torch.get_rng_state()
    write(tmp_path / "a")
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(99)
    write(tmp_path / "b")
    write(tmp_path / "c", seed=1)
    one, same, other = (load_file(tmp_path / name / "model.safetensors") for name in "abc")
    assert all(torch.equal(one[name], same[name]) for name in one)
    name = "encoder.layers.0.attention.q_proj.weight"
    assert not torch.equal(one[name], other[name])


def test_layers_of_a_random_teacher_differ(folder: Path, wavs: Audio) -> None:
    states = load_transformers_teacher(folder)(*wavs, [0, 1, 2, 3])
    assert (states[:, 1:] - states[:, :-1]).abs().mean(dim=(0, 2, 3)).min() > 0.1


def test_a_random_teacher_never_overwrites_a_folder(folder: Path) -> None:
    with pytest.raises(UserError, match="already there"):
        write(folder)
    assert [path.name for path in folder.parent.iterdir()] == ["teacher"]


def test_a_random_teacher_that_cannot_be_made_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="heads"):
        write(tmp_path / "t", heads=5)
    assert list(tmp_path.iterdir()) == []


def test_a_network_of_the_same_shape_has_other_weights(folder: Path, tmp_path: Path) -> None:
    twin = write_random_like(folder, tmp_path / "twin", seed=5)
    one, other = (load_file(path / "model.safetensors") for path in (folder, twin))
    assert {name: value.shape for name, value in one.items()} == {name: value.shape for name, value in other.items()}
    name = "encoder.layers.0.attention.q_proj.weight"
    assert not torch.equal(one[name], other[name])
    assert load_transformers_teacher(twin).num_layers == load_transformers_teacher(folder).num_layers

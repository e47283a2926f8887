from __future__ import annotations

from pathlib import Path

import pytest

from s3prl_gendistiller import build_student
from s3prl_gendistiller.cli import main
from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.host.paths import expand, expand_tree, teacher_folder
from s3prl_gendistiller.schema import read_layered_yaml
from s3prl_gendistiller.superb.cost.counted_models import model_sources


def test_superb_data_is_filled_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "LibriSpeech").mkdir()
    monkeypatch.setenv("SUPERB_DATA", str(tmp_path))
    assert expand("${SUPERB_DATA}/LibriSpeech", "libri_root") == str(tmp_path / "LibriSpeech")


def test_an_unset_variable_names_itself_the_folder_and_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SUPERB_DATA", raising=False)
    with pytest.raises(UserError, match="libri_root: .*SUPERB_DATA is not set.*SUPERB_DATA/LibriSpeech.*ler corpus"):
        expand("${SUPERB_DATA}/LibriSpeech", "libri_root")


def test_a_wrong_variable_names_the_folder_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUPERB_DATA", str(tmp_path))
    with pytest.raises(UserError, match=rf"looked for {tmp_path}/LibriSpeech.*SUPERB_DATA.*gendistiller corpus"):
        expand("${SUPERB_DATA}/LibriSpeech", "libri_root")


def test_any_other_variable_is_refused() -> None:
    with pytest.raises(UserError, match=r"found \$\{HOME\}"):
        expand("${HOME}/x", "key")


def test_a_tree_is_filled_in_and_nothing_else_is_touched(tmp_path: Path) -> None:
    (tmp_path / "char.dict").touch()
    content = {"a": ["${HERE}/char.dict", 3, None], "b": {"c": "plain"}}
    expected = {"a": [str(tmp_path / "char.dict"), 3, None], "b": {"c": "plain"}}
    assert expand_tree(content, "", here=tmp_path) == expected


def test_the_home_folder_is_filled_in_wherever_a_path_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "base.yaml").write_text("teacher: {folder: ~/hubert}\nstudent: {dropout: 0.5}\n")
    (tmp_path / "mine.yaml").write_text("base: ~/base.yaml\n")
    assert expand("~/corpora", "key") == str(tmp_path / "corpora")
    assert expand_tree({"a": ["~/b", "~", "a~/b"]}, "", here=tmp_path) == {"a": [f"{tmp_path}/b", "~", "a~/b"]}
    assert teacher_folder("~/hubert") == tmp_path / "hubert"
    assert read_layered_yaml("~/mine.yaml")["student"] == {"dropout": 0.5}


def test_a_shipped_yaml_is_found_from_anywhere_by_every_reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shipped = "pretrain_configs/gendistiller/config_model.yaml"
    assert main(["config", "gendistiller", "--check", shipped]) == 0
    assert model_sources([], [shipped], [])[0].name == "gendistiller"
    assert build_student("pretrain_configs/gendistiller/config_model_mini.yaml").config.encoder_embed_dim
    with pytest.raises(UserError, match=r"pretrain_configs/nothing\.yaml: no such file; expected a YAML") as caught:
        build_student("pretrain_configs/nothing.yaml")
    assert "-c" not in str(caught.value)

"""The root of a corpus has two names in the runner YAML: `root`, and s3prl's `libri_root`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from s3prl_gendistiller.config_runner import DataConfig
from s3prl_gendistiller.errors import ConfigError, UserError
from s3prl_gendistiller.host.overrides import read_overrides
from s3prl_gendistiller.schema import checked, from_dict, read_layered_yaml, to_dict

OTHERS = {"file_path": "lists", "sets": ["train"]}
ROOT_KEY, LIBRI_KEY = (f"config.pretrain_expert.datarc.{name}" for name in ("root", "libri_root"))


def stored(**data: Any) -> dict[str, Any]:
    return {"pretrain_expert": {"datarc": data}}


@pytest.mark.parametrize("name", ["root", "libri_root"])
def test_either_name_is_read(name: str) -> None:
    data = from_dict(DataConfig, {name: "audio", **OTHERS}, "x")
    assert data.root == "audio" and to_dict(data)["root"] == "audio"
    assert checked(DataConfig, {name: "audio", **OTHERS}, "x")[name] == "audio"


def test_both_names_in_one_file_are_one_problem() -> None:
    with pytest.raises(ConfigError) as caught:
        from_dict(DataConfig, {"root": "a", "libri_root": "b", **OTHERS}, "x")
    assert caught.value.problems == ("root: found beside libri_root, the same key under another name; leave one out",)


def test_a_wrong_value_is_blamed_on_the_name_that_was_given() -> None:
    with pytest.raises(ConfigError) as caught:
        from_dict(DataConfig, {"libri_root": 5, **OTHERS}, "x")
    assert caught.value.problems == ("libri_root: found 5 (a whole number), expected text",)


@pytest.mark.parametrize(("of_base", "own"), [("libri_root", "root"), ("root", "libri_root")])
def test_a_file_replaces_the_key_of_its_base_under_either_name(tmp_path: Path, of_base: str, own: str) -> None:
    (tmp_path / "base.yaml").write_text(f"pretrain_expert: {{datarc: {{{of_base}: a, file_path: b}}}}\n")
    (tmp_path / "mine.yaml").write_text(f"base: base.yaml\npretrain_expert: {{datarc: {{{own}: c}}}}\n")
    assert read_layered_yaml(tmp_path / "mine.yaml") == stored(file_path="b", **{own: "c"})


@pytest.mark.parametrize("given", [ROOT_KEY, LIBRI_KEY])
@pytest.mark.parametrize("name", ["root", "libri_root"])
def test_an_override_changes_the_key_under_the_name_that_it_has(given: str, name: str) -> None:
    overrides = read_overrides(f"{given}=new")
    assert overrides.apply(stored(**{name: "old"})) == stored(**{name: "new"})
    assert overrides.as_spelt_in(stored(**{name: "old"})).text() == f"config.pretrain_expert.datarc.{name}='new'"


def test_an_override_of_both_names_is_refused() -> None:
    with pytest.raises(UserError, match=r"-o: found config\.\S+\.libri_root beside root, the same key"):
        read_overrides(f"{ROOT_KEY}=a,,{LIBRI_KEY}=b")

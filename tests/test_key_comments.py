"""Every key has a meaning, stated once: `gendistiller config` and the shipped YAML files say the same."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from docs import comments
from s3prl_gendistiller.cli import main
from s3prl_gendistiller.cli.config import CONFIGURATIONS, recipes
from s3prl_gendistiller.cli.keys import describe, meaning, meanings
from s3prl_gendistiller.schema import Variants, from_dict, key, read_layered_yaml


def classes(cls: Any) -> Iterator[type]:
    """A dataclass and all dataclasses of its sections."""
    yield cls
    for field in dataclasses.fields(cls):
        hint = typing.get_type_hints(cls)[field.name]
        readers = [field.metadata.get("variants"), hint, *typing.get_args(hint)]
        for reader in readers:
            inside = list(reader.of.values()) if isinstance(reader, Variants) else [reader]
            for part in inside:
                if isinstance(part, Variants):
                    inside.extend(part.of.values())
                elif dataclasses.is_dataclass(part):
                    yield from classes(part)


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_every_key_has_a_meaning_of_one_line(name: str) -> None:
    found = {
        (cls, field.name): meaning(cls, field.name)
        for cls in classes(CONFIGURATIONS[name])
        for field in dataclasses.fields(cls)
    }
    assert len(found) > 10
    assert not [f"{cls.__name__}.{field}" for (cls, field), text in found.items() if not text]
    assert not [text for text in found.values() if len(text) > 100 or "\n" in text or text.endswith(".")]


@pytest.mark.parametrize("path", comments.FILES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_the_comments_of_shipped_files_are_those_of_their_keys(path: Path) -> None:
    assert path.read_text() == comments.commented(path), "python docs/comments.py writes the comments"


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_what_is_printed_is_the_recipe(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", name]) == 0
    printed = capsys.readouterr().out
    assert "???" not in printed and "${HERE}" not in printed and max(map(len, printed.splitlines())) < 200
    path = tmp_path / "mine.yaml"
    path.write_text(printed)
    recipe, found = read_layered_yaml(recipes(name)[0]), read_layered_yaml(path)
    cls = CONFIGURATIONS[name]
    recipe = yaml.safe_load(yaml.safe_dump(recipe).replace("${HERE}", str(recipes(name)[0].parent)))
    assert from_dict(cls, found, "printed") == from_dict(cls, recipe, "recipe")


@dataclasses.dataclass
class Inner:
    size: int = key(2, low=1, high=9, about="number of things")


@dataclasses.dataclass
class Outer(Inner):
    size: int = 3
    part: Inner | None = key(None, about="things inside")
    plain: str = "x"


def test_a_subclass_takes_a_meaning_over_and_a_value_that_is_no_default_is_marked() -> None:
    assert meaning(Outer, "size") == "number of things" and meaning(Outer, "plain") == ""
    assert list(describe(Outer, {})) == ["size: 3  # number of things", "part: null  # things inside", "plain: x"]
    assert list(describe(Outer, {"part": {"size": 4}}))[1:3] == [
        "part:  # things inside",
        "  size: 4  # number of things (default 2, 1 to 9)",
    ]
    assert dict(meanings(Outer, {"part": {"size": 4}})) == {"part": "things inside", "part.size": "number of things"}


def test_a_comment_is_written_behind_its_key_and_comments_of_the_file_stay() -> None:
    known = {"a": "first", "a.b": "second", "c": "list", "c[0].d": "third", "c[1].d": "fourth"}
    lines = ["# head", "a: # old", "  b: 'x'  # old", "  e: 1  # stays", "  # stays", "c:", "  - d: 1", "  - d: 2"]
    assert [line.split() for line in comments._commented(lines, known)] == [
        ["#", "head"],
        ["a:", "#", "first"],
        ["b:", "'x'", "#", "second"],
        ["e:", "1", "#", "stays"],
        ["#", "stays"],
        ["c:", "#", "list"],
        ["-", "d:", "1", "#", "third"],
        ["-", "d:", "2", "#", "fourth"],
    ]
    assert comments._commented(["a: " + "x" * 120], known) == ["a:" + " " * 27 + "  # first", "  " + "x" * 120]

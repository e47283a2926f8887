"""How far a student generates: as a file, as YAML in place of one, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.host.students import check_steps, generation_text
from s3prl_gendistiller.models.upstream import GenerationConfig, read_generation
from tests.host.test_checkpoint import save_student


def test_a_file_and_its_content_say_the_same(tmp_path: Path) -> None:
    path = tmp_path / "g.yaml"
    path.write_text("steps: 2\n")
    assert read_generation(path) == read_generation(generation_text(2)) == GenerationConfig(steps=2)
    assert read_generation(None) == GenerationConfig() == read_generation("steps:")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("step: 2", "-g: .*step: unknown key; did you mean steps"),
        ("steps: 0", "steps: found 0, expected at least 1"),
        ("none.yaml", "none.yaml"),
        ("a: b: c", "-g: found 'a: b: c', expected a YAML file"),
    ],
)
def test_anything_else_is_refused(source: str, message: str) -> None:
    with pytest.raises(UserError, match=f"(?s){message}"):
        read_generation(source)


def test_more_steps_than_layers_are_refused(tmp_path: Path) -> None:
    path = save_student(tmp_path / "x.ckpt")
    check_steps(None, tmp_path / "is not read.ckpt")
    check_steps(2, path)
    with pytest.raises(
        UserError, match=r"steps: found 3, expected 1\.\.2: .*x\.ckpt generates .* layers 1, 2 one after"
    ):
        check_steps(3, path)

"""docs/architecture.md: its pictures are those of the sources, and a wrong picture is noticed."""

from __future__ import annotations

import ast

import pytest

from docs import architecture
from tests.conftest import ROOT, run_python


def test_the_pictures_are_those_of_the_sources() -> None:
    answer = run_python("docs/architecture.py", "--check", cwd=ROOT)
    assert answer.returncode == 0, "docs/architecture.md is stale; run: python docs/architecture.py"


def test_an_import_is_an_arrow_and_a_longer_way_replaces_the_short_one() -> None:
    sources = {
        "cli.a": "from s3prl_gendistiller.host import b\nimport s3prl_gendistiller.models.c",
        "host.b": "def f():\n    from s3prl_gendistiller.models.c import d",
        "models.c": "from s3prl_gendistiller.errors import UserError",
        "errors": "",
    }
    trees = {name: ast.parse(text) for name, text in sources.items()}
    assert architecture.room_edges(trees) == {("cli", "host"), ("host", "models"), ("models", "config")}


@pytest.mark.parametrize("step", [("distill.task", "NoSuchThing", ""), ("distill.none", "DistillTask", "")])
def test_a_step_that_is_no_longer_there_is_an_error(
    step: tuple[str, str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(architecture, "DRIVERS", (((step,), "host.pretrain_expert"),))
    with pytest.raises(ValueError, match=step[0]):
        architecture.check_steps(architecture.read_modules())


def test_a_document_without_the_place_is_refused() -> None:
    with pytest.raises(ValueError, match="found 0 places for the picture rooms"):
        architecture.with_pictures("text", {"rooms": "picture"})

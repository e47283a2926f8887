"""The guard of every call of s3prl that could run what a file says; a new call has none, and fails here."""

from __future__ import annotations

import ast
import fnmatch
import importlib
import importlib.util
from pathlib import Path

import pytest

from s3prl_gendistiller.host.locate import find_host
from tests.host.dangerous_calls import (
    HOST,
    REASONS,
    TABLE,
    UPSTREAM_FEATURE,
    UPSTREAM_LOADER,
    UPSTREAM_TEXT,
    Call,
    found_calls,
    is_dangerous,
)

CALLS = found_calls(find_host().package)


def guard(call: Call) -> str | None:
    return next(
        (named for path, texts, named in TABLE if call.text in texts and fnmatch.fnmatch(call.path, path)), None
    )


def test_every_call_has_a_guard() -> None:
    unguarded = [call for call in CALLS if guard(call) is None]
    assert unguarded == [], "name their guard in dangerous_calls.TABLE, or write one"
    assert len(CALLS) > 150 and any(call.path.startswith("upstream/wavlm") for call in CALLS)


def test_every_row_of_the_table_has_its_call() -> None:
    used = {(path, text) for path, texts, _ in TABLE for text in texts}
    for call in CALLS:
        row = next(
            (path, call.text) for path, texts, _ in TABLE if call.text in texts and fnmatch.fnmatch(call.path, path)
        )
        used.discard(row)
    for_all = {"eval(self.modelrc['select'])", "eval(f'self.get_{mode}_dataloader')"}  # not every task has these
    assert sorted((path, text) for path, text in used if text not in for_all) == []


@pytest.mark.parametrize("name", sorted({named for _, _, named in TABLE} - set(REASONS)))
def test_every_guard_exists(name: str) -> None:
    parts = name.split(".")
    module = ".".join(part for part in parts[:-1] if part[0].islower())
    found = importlib.import_module(module)
    for part in parts[len(module.split(".")) :]:
        found = getattr(found, part)


def test_a_stand_in_is_in_the_very_module_that_evaluates_or_unpickles() -> None:
    guards = importlib.import_module(HOST + "shims.upstream_guards").GUARDS
    for call in CALLS:
        if guard(call) in (UPSTREAM_TEXT, UPSTREAM_FEATURE, UPSTREAM_LOADER):
            assert call.path.removeprefix("upstream/").removesuffix(".py").replace("/", ".") in guards, call


@pytest.mark.parametrize(
    "text",
    [
        "eval(x)",
        "exec(x)",
        "torch.load(x)",
        "pickle.load(f)",
        "pickle.Unpickler(f)",
        "joblib.load(f)",
        "np.load(f, allow_pickle=True)",
        "yaml.load(f)",
        "torch.hub.load(x)",
        "importlib.import_module(x)",
        "__import__(x)",
        "getattr(hub, name)",
        "os.system(x)",
        "subprocess.run(x)",
        "X.from_pretrained(y)",
    ],
)
def test_a_call_of_each_kind_is_found(text: str, tmp_path: Path) -> None:
    node = ast.parse(text, mode="eval").body
    assert isinstance(node, ast.Call) and is_dangerous(node)
    for name in ("run_pretrain.py", "run_downstream.py", "hub.py"):
        (tmp_path / name).write_text("")
    (tmp_path / "downstream/mine").mkdir(parents=True)
    (tmp_path / "downstream/mine/expert.py").write_text("from .model import *\n")
    (tmp_path / "downstream/mine/model.py").write_text(f"def build():\n    return {text}\n")
    assert [call.path for call in found_calls(tmp_path)] == ["downstream/mine/model.py"]

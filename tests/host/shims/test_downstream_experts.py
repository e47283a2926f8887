"""What stands in s3prl's modules in place of `pickle` and `eval`: right files and names as before, nothing else."""

from __future__ import annotations

import os
import pickle
import types
from pathlib import Path

import pytest

from s3prl_gendistiller.cli import launch
from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.host import mount
from s3prl_gendistiller.host.shims.downstream_experts import PlainPickle, class_of


class Touches:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.path),)


def test_a_list_that_a_run_keeps_is_read_and_what_would_call_something_is_not(tmp_path: Path) -> None:
    lists, mark = tmp_path / "train.pkl", tmp_path / "mark"
    with lists.open("wb") as file:
        PlainPickle.dump(["a.wav", "b.wav"], file)
    with lists.open("rb") as file:
        assert PlainPickle.load(file) == ["a.wav", "b.wav"]
    for content in (pickle.dumps([Touches(mark)]), pickle.dumps({"a": 1}), pickle.dumps([1]), b"", b"\x80\x05X"):
        lists.write_bytes(content)
        with lists.open("rb") as file, pytest.raises(UserError, match=r"train\.pkl: expected a list of paths"):
            PlainPickle.load(file)
    assert not mark.exists()


def test_speaker_identification_reads_its_lists_by_it(tmp_path: Path) -> None:
    mount.supply_expert("voxceleb1", tmp_path, "cpu")
    from s3prl.downstream.voxceleb1.dataset import SpeakerClassifiDataset

    (tmp_path / ".cache").mkdir()
    (tmp_path / ".cache/train.pkl").write_bytes(pickle.dumps(Touches(tmp_path / "mark")))
    (tmp_path / "list.txt").touch()
    with pytest.raises(UserError, match="expected a list of paths"):
        SpeakerClassifiDataset("train", tmp_path, tmp_path / "list.txt")
    assert not (tmp_path / "mark").exists()


def test_a_name_from_a_checkpoint_is_a_class_of_the_module() -> None:
    module = types.ModuleType("head")
    module.Linear = type("Linear", (), {})  # type: ignore[attr-defined]
    module.os = os  # type: ignore[attr-defined]
    assert class_of(module)("Linear") is module.Linear
    for text in ("os", "os.system('id')", "__builtins__", "Lin", ["Linear"]):
        with pytest.raises(UserError, match="expected the name of a class"):
            class_of(module)(text)  # type: ignore[arg-type]


def test_nothing_in_the_environment_lets_a_checkpoint_run_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    assert launch.guarded(lambda argv: None, []) == 0 and "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD" not in os.environ

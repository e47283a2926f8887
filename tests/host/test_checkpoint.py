from __future__ import annotations

import argparse
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from s3prl_gendistiller import load_student
from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.host import checkpoint
from s3prl_gendistiller.host.checkpoint import BrokenCheckpoint, newest_checkpoint, newest_student, read_checkpoint
from s3prl_gendistiller.host.students import build_student
from s3prl_gendistiller.schema import merge
from tests.conftest import TINY

CONFIG = {"teacher": {"folder": "teacher"}, "student": TINY, "distill": {"target_layers": [1, 2]}}


def save_student(path: Path, step: int = 3, **changes: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    states = {
        "GenDistiller": build_student(CONFIG).state_dict(),
        "Upstream_Config": CONFIG,
        "Format_Version": 1,
        "Step": step,
        "Args": argparse.Namespace(expdir="x"),
        **changes,
    }
    torch.save({key: value for key, value in states.items() if value is not None}, path)
    return path


class Bomb:
    """A pickle that runs a command when it is loaded."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple:
        return os.system, (f"touch {self.target}",)


def test_a_student_comes_back_in_eval_mode_with_its_weights(tmp_path: Path, wavs: tuple) -> None:
    torch.manual_seed(0)
    path = save_student(tmp_path / "states-3.ckpt")
    student = load_student(path)
    assert not student.training
    weights = read_checkpoint(path)["GenDistiller"]
    assert all(torch.equal(value, weights[name]) for name, value in student.state_dict().items())
    assert len(student.generate(*wavs, steps=1).hidden_states) == 2


def test_a_malicious_checkpoint_runs_nothing_and_names_what_it_wanted(tmp_path: Path) -> None:
    target = tmp_path / "ran"
    path = save_student(tmp_path / "evil.ckpt", Extra=Bomb(target))
    with pytest.raises(UserError, match=r"refused, loading it would call (posix|os)\.system"):
        load_student(path)
    assert not target.exists()


@pytest.mark.parametrize("content", [b"\x07\x51" * 400, b"\x80\x02\x9a\x11", b"plain text\n" * 30, b"1", b"(", b""])
def test_bytes_that_are_no_checkpoint_are_called_so(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.ckpt").write_bytes(content)
    with pytest.raises(BrokenCheckpoint, match="not a (whole )?checkpoint"):
        read_checkpoint(tmp_path / "x.ckpt")


def test_an_old_style_pickle_is_refused_as_well(tmp_path: Path) -> None:
    import pickle

    target = tmp_path / "ran"
    path = tmp_path / "old.ckpt"
    path.write_bytes(pickle.dumps({"GenDistiller": Bomb(target)}))
    with pytest.raises(UserError):
        load_student(path)
    assert not target.exists()


@pytest.mark.parametrize("keep", [0, 100, 0.5])
def test_a_truncated_checkpoint_is_named(tmp_path: Path, keep: float) -> None:
    path = save_student(tmp_path / "states-3.ckpt")
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * keep) if isinstance(keep, float) else keep])
    with pytest.raises(UserError, match="not a whole checkpoint|not a checkpoint"):
        load_student(path)


def test_missing_and_foreign_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such checkpoint"):
        load_student(tmp_path / "none.ckpt")
    with pytest.raises(UserError, match="found a folder"):
        load_student(tmp_path)
    torch.save({"model": {}, "cfg": {}}, tmp_path / "other.ckpt")
    with pytest.raises(UserError, match="found cfg, model, expected the weights of a student"):
        load_student(tmp_path / "other.ckpt")
    torch.save([1], tmp_path / "list.ckpt")
    with pytest.raises(UserError, match="found list"):
        load_student(tmp_path / "list.ckpt")
    (tmp_path / "text.ckpt").write_text("hello")
    with pytest.raises(UserError, match="not a"):
        load_student(tmp_path / "text.ckpt")


def test_weights_that_do_not_fit_are_listed(tmp_path: Path) -> None:
    weights = build_student(CONFIG).state_dict()
    weights["output.weight"] = torch.zeros(3, 3)
    del weights["output.bias"]
    weights["extra"] = torch.zeros(1)
    path = save_student(tmp_path / "x.ckpt", GenDistiller=weights)
    with pytest.raises(UserError) as caught:
        load_student(path)
    message = str(caught.value)
    assert "3 weights do not fit" in message and "output.bias is missing" in message
    assert "extra is not part of this student" in message
    assert "output.weight is (3, 3), expected (24, 24)" in message


def test_a_later_format_asks_for_an_upgrade(tmp_path: Path) -> None:
    path = save_student(tmp_path / "states-3.ckpt", Format_Version=99)
    for read in (load_student, read_checkpoint, lambda path: newest_checkpoint(path.parent)):
        with pytest.raises(UserError, match="found format 99, expected at most 1; upgrade"):
            read(path)


def test_newest_is_by_stored_step_and_broken_files_are_skipped(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    save_student(tmp_path / "states-1000.ckpt", step=1000)
    last = save_student(tmp_path / "states-epoch-2.ckpt", step=1200)
    broken = save_student(tmp_path / "states-1300.ckpt", step=1300)
    broken.write_bytes(broken.read_bytes()[:-200])
    with caplog.at_level(logging.WARNING):
        logging.getLogger("s3prl_gendistiller").propagate = True
        assert newest_checkpoint(tmp_path) == last
    assert "states-1300.ckpt" in caplog.text
    assert newest_checkpoint(tmp_path / "none") is None


def test_where_no_other_is_whole_the_best_on_dev_is_the_newest(tmp_path: Path) -> None:
    best = save_student(tmp_path / "dev-best.ckpt", step=800)
    left = save_student(tmp_path / "states-1000.ckpt", step=1000)
    assert newest_checkpoint(tmp_path) == left
    left.write_bytes(left.read_bytes()[:-200])
    assert newest_checkpoint(tmp_path) == best


@pytest.mark.parametrize("reader", ["stored_step", "whole_step"])
def test_a_file_that_a_running_training_deletes_counts_as_absent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, reader: str
) -> None:
    kept, deleted = (save_student(tmp_path / f"states-{step}.ckpt", step) for step in (3, 4))
    read = getattr(checkpoint, reader)

    def late(path: Path) -> object:
        deleted.unlink(missing_ok=True)
        return read(path)

    monkeypatch.setattr(checkpoint, reader, late)
    assert newest_checkpoint(tmp_path) == kept
    assert not caplog.records


@pytest.mark.parametrize("function", ["_regular", "_stamp", "_damage", "_load"])
def test_a_file_deleted_while_it_is_read_counts_as_absent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, function: str
) -> None:
    kept, deleted = (save_student(tmp_path / f"states-{step}.ckpt", step) for step in (3, 4))
    inner = getattr(checkpoint, function)

    def late(path: Path, *rest: Any, **options: Any) -> object:
        if path == deleted:
            deleted.unlink(missing_ok=True)
        return inner(path, *rest, **options)

    monkeypatch.setattr(checkpoint, function, late)
    assert newest_checkpoint(tmp_path) == kept


def with_output(change: Callable[[torch.Tensor], object]) -> dict[str, object]:
    weights: dict[str, object] = dict(build_student(CONFIG).state_dict())
    weights["output.weight"] = change(torch.ones(24, 24))
    return {"GenDistiller": weights}


def with_student(**changes: object) -> dict[str, object]:
    return {"Upstream_Config": {**CONFIG, "student": {**TINY, **changes}}}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"Step": "3"}, "found str as Step, expected a whole number"),
        ({"Step": True}, "found bool as Step"),
        ({"Step": -1}, "found Step out of range"),
        ({"Step": 10**30}, "found Step out of range"),
        ({"Args": {}}, "found dict as Args, expected the arguments of a run"),
        ({"Config": []}, "found list as Config, expected a mapping"),
        ({"GenDistiller": [1]}, "found list as GenDistiller, expected a mapping"),
        ({"Upstream_Config": "/etc/hostname"}, "found str as Upstream_Config"),
        ({"Upstream_Config": {**CONFIG, "distill": None}}, "distill: found null"),
        ({"Format_Version": "1"}, "found str as Format_Version"),
        (with_student(encoder_ffn_embed_dim=10**9), "found encoder_ffn_embed_dim 1000000000 .*expected at most 32"),
        (with_student(encoder_embed_dim=2 * 10**30), "found encoder_embed_dim .*expected at most 32"),
        (with_student(extractor_conv_feature_layers=[[10**9, 10, 5]]), "found extractor_conv_feature_layers"),
        (
            {"Upstream_Config": merge(CONFIG, {"student": {"front_end": "thin", "thin_channels": [*[8] * 6, 10**9]}})},
            "found thin_channels",
        ),
        (with_output(lambda _: "x"), "output.weight is str, expected"),
        (with_output(lambda value: value.int()), "output.weight is of torch.int32, expected"),
        (with_output(lambda value: value.to(torch.complex64)), "output.weight is of torch.complex64"),
        (with_output(lambda value: value.to_sparse()), "output.weight is no dense tensor"),
        (with_output(lambda value: value.to("meta")), "output.weight is no dense tensor"),
        (with_output(lambda _: torch.ones(1).expand(10**7, 10**7)), "output.weight is no dense tensor"),
        (with_output(lambda value: value * float("nan")), r"found NaN in the weight output.weight \(1 such weights\)"),
        (
            with_output(lambda value: value / 0),
            r"found infinite numbers in the weight output.weight \(1 such weights\)",
        ),
    ],
)
def test_what_no_run_writes_is_refused_by_name(tmp_path: Path, changes: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        load_student(save_student(tmp_path / "x.ckpt", **changes))


def test_a_zeroed_block_is_found_by_its_check_sum_and_an_older_file_is_taken(tmp_path: Path) -> None:
    older, newest = (save_student(tmp_path / f"states-{step}.ckpt", step) for step in (3, 4))
    content = newest.read_bytes()
    place = content.index(build_student(CONFIG).state_dict()["feature_norm.weight"].numpy().tobytes())
    newest.write_bytes(content[:place] + bytes(16) + content[place + 16 :])
    with pytest.raises(BrokenCheckpoint, match="not a whole checkpoint .*check sum of .* is wrong"):
        read_checkpoint(newest)
    assert newest_checkpoint(tmp_path) == older


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "states-9.ckpt")
    with pytest.raises(UserError, match="found a pipe or a device"):
        read_checkpoint(tmp_path / "states-9.ckpt")
    (tmp_path / "states-8.ckpt").mkdir()
    assert newest_checkpoint(tmp_path) is None


def test_the_newest_student_is_of_the_kind_asked_for(tmp_path: Path) -> None:
    old = save_student(tmp_path / "a/states-5.ckpt", step=5)
    new = save_student(tmp_path / "b/states-3.ckpt", step=3)
    other = save_student(tmp_path / "c/states-9.ckpt", step=9, GenDistiller=None, Distiller={})
    for age, path in ((300, old), (200, new), (100, other)):
        stamp = path.stat().st_mtime - age
        os.utime(path, (stamp, stamp))
    assert newest_student(tmp_path, "gendistiller") == new
    assert newest_student(tmp_path, "distilhubert") == other
    assert newest_student(tmp_path / "none", "gendistiller") is None

"""Checkpoints that are being written when a run is killed, fails or has no room left."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.host import saving
from s3prl_gendistiller.host.checkpoint import newest_checkpoint, read_checkpoint
from s3prl_gendistiller.host.saving import save_checkpoint
from tests.host.loops import Loops


def save(folder: Path, step: int, keep: int = 2, name: str | None = None) -> Path:
    path = folder / f"states-{name or step}.ckpt"
    save_checkpoint({"Step": step, "weights": torch.arange(1000.0)}, path, keep)
    return path


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def killed() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("moment", ["torch.save", "os.fsync", "os.replace", "os.unlink"])
@pytest.mark.parametrize("before", [0, 1])
def test_a_kill_inside_a_save_leaves_what_was_there(tmp_path: Path, moment: str, before: int) -> None:
    for step in range(1, before + 1):
        save(tmp_path, step, keep=1)
    child = os.fork()
    if child == 0:
        module = {"torch": torch, "os": os}[moment.split(".")[0]]
        if moment == "torch.save":
            stock = torch.save
            torch.save = lambda states, file: (stock({}, file), file.flush(), killed())
        else:
            setattr(module, moment.split(".")[1], lambda *given: killed())
        save(tmp_path, 9, keep=1)
        os._exit(0)  # no checkpoint was surplus
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or (moment == "os.unlink" and not before)
    whole = [path for path in tmp_path.glob("states-*.ckpt") if read_checkpoint(path)["Step"]]
    assert whole == sorted(tmp_path.glob("states-*.ckpt")) and len(whole) >= before
    newest = newest_checkpoint(tmp_path)
    assert (newest is None) == (before == 0 and moment != "os.unlink")

    save(tmp_path, 10, keep=1)
    assert names(tmp_path) == {"states-10.ckpt"}  # and no file of the killed save


def fail(error: Exception) -> Callable[..., None]:
    def stand_in(states: object, file: object) -> None:
        file.write(b"half")  # type: ignore[attr-defined]
        raise error

    return stand_in


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), RuntimeError("file write failed")])
def test_a_save_that_fails_twice_deletes_nothing(
    loops: Loops, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    loops.train("run", max_keep=1, total_steps=3)
    kept = names(loops.folder / "run")
    path = newest_checkpoint(loops.folder / "run")
    for _ in range(2):
        with monkeypatch.context() as patched, pytest.raises(UserError, match="cannot be written") as caught:
            patched.setattr(saving.torch, "save", fail(error))
            loops.train("run", resume=path, max_keep=1, total_steps=6)
        assert caught.value.begun
        assert {name for name in names(loops.folder / "run") if "events" not in name} <= kept
        assert newest_checkpoint(loops.folder / "run") == path


def test_what_is_surplus_goes_by_the_stored_step_and_whole_ones_last(tmp_path: Path) -> None:
    save(tmp_path, 40, name="epoch-1")  # the last checkpoint of a run that is made longer
    broken = save(tmp_path, 45)
    broken.write_bytes(broken.read_bytes()[:-300])
    save(tmp_path, 30, keep=9)
    assert names(tmp_path) == {"states-epoch-1.ckpt", "states-45.ckpt", "states-30.ckpt"}
    save(tmp_path, 50, keep=3)
    assert names(tmp_path) == {"states-epoch-1.ckpt", "states-30.ckpt", "states-50.ckpt"}
    save(tmp_path, 60, keep=2)
    assert names(tmp_path) == {"states-50.ckpt", "states-60.ckpt"}
    save(tmp_path, 55, keep=2)  # the run went back to an older step: the new checkpoint stays
    assert names(tmp_path) == {"states-60.ckpt", "states-55.ckpt"}
    save(tmp_path, 70, keep=0)
    assert names(tmp_path) == {"states-70.ckpt"}


def test_both_loops_keep_as_many_as_asked_for_and_the_best_beside_them(loops: Loops) -> None:
    loops.train("run", max_keep=1, total_steps=6, eval_step=3)
    left = {path.name for path in (loops.folder / "run").glob("*.ckpt")}
    assert left == ({"states-6.ckpt"} if loops.kind == "pretrain" else {"states-6.ckpt", "dev-best.ckpt"})


def test_the_last_checkpoint_is_named_by_its_step_however_the_length_is_counted(
    loops: Loops, capsys: pytest.CaptureFixture[str]
) -> None:
    if loops.kind == "downstream":
        loops.train("run", total_steps=8)
    else:
        loops.train("run", n_epochs=2, gradient_accumulate_steps=2, save_step=4)  # six batches an epoch
        said = capsys.readouterr().out
        assert "run/states-4.ckpt" in said and "run/states-6.ckpt" in said and "epoch-" not in said
        loops.train("run", resume=loops.folder / "run/states-6.ckpt", total_steps=8)
    newest = newest_checkpoint(loops.folder / "run")
    assert newest is not None and newest.name == "states-8.ckpt" and read_checkpoint(newest)["Step"] == 8
    assert not list((loops.folder / "run").glob("states-epoch-*"))

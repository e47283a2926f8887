"""The teacher's layers on disk: the same trainings with and without, bit by bit, within the room there is."""

from __future__ import annotations

import argparse
import dataclasses
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from hubert.random_teacher import write_random_teacher
from s3prl_gendistiller.cli import pretrain
from s3prl_gendistiller.distill.crops import Batch
from s3prl_gendistiller.distill.metrics import read_metrics
from s3prl_gendistiller.errors import ConfigError, UserError
from s3prl_gendistiller.host import feature_store
from s3prl_gendistiller.host.pretrain_expert import PretrainExpert
from s3prl_gendistiller.host.target_cache import MARK
from tests.bench import LAUNCH, TINY_TEACHER, Bench
from tests.conftest import run_python
from tests.host.test_launchers import succeed
from tests.host.test_pretrain_expert import train

Make = Callable[..., PretrainExpert]
STEPS = 6  # one epoch and a half
FORMS: dict[str, tuple[str, dict[str, Any]]] = {
    "free running": ("gendistiller", {}),
    "fed back by chance": ("gendistiller", {"distill": {"feedback": "scheduled", "feedback_start": 0.5}}),
    "random depth": ("gendistiller", {"distill": {"random_depth": True}, "student": {"dropout": 0.1}}),
    "front end first": ("gendistiller", {"distill": {"front_end_steps": 2}}),
    "shared CNN": ("gendistiller", {"distill": {"share_front_end": True}, "student": {"feature_grad_mult": 0.0}}),
    "relations": ("gendistiller", {"distill": {"target_layers": [1, 2, 3]}, "objectives": [{"name": "ckd"}]}),
    "baseline": ("distilhubert", {}),
    "baseline, shared CNN": (
        "distilhubert",
        {"distill": {"share_front_end": True}, "student": {"feature_grad_mult": 0.0}},
    ),
}


def files(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.npz"))


def cached(make: Make, folder: Path, task: str = "gendistiller", datarc: dict | None = None, **sections: Any) -> Any:
    expert = make(task, {"cache_teacher": str(folder), **(datarc or {})}, **sections)
    expert.calls = 0  # batches of the teacher

    def count(*_: object) -> None:
        expert.calls += 1

    expert.task.teacher.encoder.feature_extractor.register_forward_hook(count)
    return expert


def course(expert: Any, folder: Path) -> tuple[Any, ...]:
    """All numbers of a training: losses, weights, and the entries of the metrics without the time."""
    losses = train(expert, STEPS)
    logger = SimpleNamespace(logdir=str(folder), add_scalar=lambda *given, **named: None)
    folder.mkdir()
    expert.log_records({}, logger, "x/train-", STEPS)
    valid = read_metrics(folder, "valid")
    return losses, [value.tolist() for value in expert.model.state_dict().values()], valid


@pytest.mark.parametrize("form", FORMS)
def test_trainings_with_and_without_a_cache_are_equal_bit_by_bit(make: Make, form: str, tmp_path: Path) -> None:
    task, sections = FORMS[form]
    expected = course(make(task, **sections), tmp_path / "without")
    assert len(expected[2]) == STEPS // 2
    calls = []
    for name in ("cold", "warm"):
        expert = cached(make, tmp_path / "kept", task, **sections)
        assert course(expert, tmp_path / name) == expected
        calls.append(expert.calls)
    every = STEPS + len(expert.valid_loader) * (STEPS // 2)
    again = len(expert.valid_loader) * (STEPS // 2 - 1)  # held-out batches come again
    assert calls == ([every, every] if "shared" in form else [every - again, 0])  # shared: the CNN runs in any case


def test_trainings_of_several_forms_compute_each_batch_once(make: Make, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    first = cached(make, kept)
    train(first, STEPS)
    for sections in ({"student": {"history_input": "echo"}}, {"distill": {"random_depth": True}}):
        other = cached(make, kept, **sections)
        train(other, STEPS)
        assert other.calls == 0
    assert first.calls == len(files(kept)) == STEPS + len(first.valid_loader)
    longer = cached(make, kept)
    train(longer, STEPS + 2)
    assert longer.calls == 2


def test_other_teachers_layers_speech_and_treatment_of_padding_are_kept_apart(make: Make, tmp_path: Path) -> None:
    other = write_random_teacher(tmp_path / "other", **TINY_TEACHER, seed=7)
    kept = tmp_path / "kept"
    variants: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
        ("gendistiller", {}, {}),
        ("gendistiller", {}, {"teacher": {"folder": str(other)}}),
        ("gendistiller", {}, {"distill": {"target_layers": [2]}}),
        ("gendistiller", {"crop_samples": 6_000}, {}),
        ("gendistiller", {"train_batch_size": 2}, {}),
        ("distilhubert", {}, {}),
        ("gendistiller", {}, {"teacher": {"precision": "bfloat16"}}),
    ]
    for count, (task, datarc, sections) in enumerate(variants, start=1):
        expert = cached(make, kept, task, {"valid_sets": [], **datarc}, **sections)
        train(expert, 1)
        assert expert.calls == 1 and len(files(kept)) == count
        assert len({path.parent for path in files(kept)}) == count


def batch_of(expert: Any) -> Batch:
    return next(iter(expert.get_train_dataloader()))


def taught(expert: Any, batch: Batch) -> torch.Tensor:
    return expert.taught.of_training(batch, batch.wavs)["taught"]


def test_a_file_that_is_not_whole_or_of_other_audio_is_computed_anew(make: Make, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    expert = cached(make, kept)
    batch = batch_of(expert)
    expected = taught(expert, batch)
    assert expected.is_contiguous() and torch.equal(taught(expert, batch), expected) and expert.calls == 1
    assert taught(expert, batch).stride() == expected.stride()
    (path,) = files(kept)
    content = path.read_bytes()
    for wrong in (content[: len(content) // 2], content[:200] + b"\xff" * 8 + content[208:], b""):
        path.write_bytes(wrong)
        assert torch.equal(taught(expert, batch), expected) and path.read_bytes() == content
    assert expert.calls == 4
    changed = batch._replace(wavs=batch.wavs * 1.01)
    assert not torch.equal(taught(expert, changed), expected)
    shorter = batch._replace(lengths=batch.lengths - 1)
    taught(expert, shorter)
    assert expert.calls == 6 and len(files(kept)) == 3
    padded = batch._replace(wavs=torch.nn.functional.pad(batch.wavs, (0, 320)))
    assert taught(expert, padded).shape[2] == expected.shape[2] + 1 and expert.calls == 7


def test_half_precision_gives_one_training_whatever_was_kept_before(make: Make, tmp_path: Path) -> None:
    half = {"cache_precision": "float16"}
    cold = course(cached(make, tmp_path / "half", datarc=half), tmp_path / "cold")
    warm = cached(make, tmp_path / "half", datarc=half)
    assert course(warm, tmp_path / "warm") == cold and warm.calls == 0
    whole = course(cached(make, tmp_path / "whole"), tmp_path / "x")
    assert whole[0] != cold[0] and whole[0] == pytest.approx(cold[0], rel=1e-3)
    sizes = [feature_store.kept_bytes(tmp_path / name) for name in ("half", "whole")]
    assert sizes[0] < 0.6 * sizes[1]
    expert = cached(make, tmp_path / "half", datarc=half)
    batch = batch_of(expert)
    with pytest.raises(UserError, match="cache_precision: found float16, expected float32; teacher .* cannot hold"):
        expert.taught.cache.layers(batch, [1], "x", lambda: torch.full((3, 1, 2, 2), 1e6))
    assert taught(expert, batch).dtype == torch.float32


def test_trainings_share_a_folder_at_a_time(make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getpid", threading.get_ident)  # a thread stands for a process
    kept = tmp_path / "kept"
    experts = [cached(make, kept) for _ in range(4)]
    batches = [list(expert.get_train_dataloader()) for expert in experts]
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda i: [taught(experts[i], batch) for batch in batches[i]], range(4)))
    for layers in found[1:]:
        assert all(map(torch.equal, layers, found[0]))
    assert len(files(kept)) == len(batches[0])
    assert not [path for path in kept.rglob("*") if ".part-" in path.name]


@pytest.mark.parametrize("place", ["foreign", "file", "/proc/cache"])
def test_a_folder_of_something_else_is_refused_and_left_as_it_is(make: Make, place: str, tmp_path: Path) -> None:
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "thesis.txt").write_text("")
    (tmp_path / "file").write_text("")
    said = {"foreign": "found a folder with thesis.txt, expected a new or empty folder"}.get(place, "cannot be written")
    with pytest.raises(UserError, match=f"datarc.cache_teacher .*{said}.*name another folder"):
        cached(make, tmp_path / place)
    assert [path.name for path in (tmp_path / "foreign").iterdir()] == ["thesis.txt"]


def test_the_room_is_said_beforehand_and_required(
    make: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = tmp_path / "kept"
    expert = cached(make, kept)
    with caplog.at_level("INFO", "s3prl_gendistiller"):
        expert.before_training(STEPS)
    # 10 crops of 25 frames in 4 batches, 3 held-out ones; 2 layers of 24 numbers of 4 bytes
    assert "take about 86.4 KB; 0 B of them are there" in caplog.text
    train(expert, STEPS)
    with caplog.at_level("INFO", "s3prl_gendistiller"):
        cached(make, kept).before_training(STEPS)
    there = feature_store.kept_bytes(kept) - sum(path.stat().st_size for path in kept.iterdir() if path.is_file())
    assert there > 80_000 and f"; {feature_store.in_words(there)} of them are there" in caplog.text.splitlines()[-1]

    limited = cached(make, kept, datarc={"cache_limit": "1K"})
    limited.before_training(STEPS)  # full, but with all that this training needs
    with pytest.raises(UserError, match=r"keeps 1 KB at most.*the folder is full, delete .*, or raise .*cache_limit"):
        cached(make, kept, datarc={"cache_limit": "1K", "crop_samples": 5_000}).before_training(STEPS)
    monkeypatch.setattr(feature_store.shutil, "disk_usage", lambda path: argparse.Namespace(free=10**9 + 50_000))
    with pytest.raises(UserError, match=r"1 GB of the disk are free; give .*cache_limit \(such as 50G\)"):
        cached(make, tmp_path / "new").before_training(STEPS)
    cached(make, tmp_path / "bounded", datarc={"cache_limit": "1M"}).before_training(STEPS)


def test_a_limit_bounds_the_folder_and_the_training_goes_on(
    make: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    kept = tmp_path / "kept"
    expected = train(make(), STEPS)
    expert = cached(make, kept, datarc={"cache_limit": "40K", "valid_sets": []})
    with caplog.at_level("WARNING", "s3prl_gendistiller"):
        assert train(expert, STEPS) == expected
    assert 0 < len(files(kept)) < STEPS and sum(path.stat().st_size for path in files(kept)) < 40_000
    assert caplog.text.count("keeps no more features, since its limit is 40 KB") == 1


def test_a_limit_that_is_no_size_and_keys_without_a_folder_are_refused(make: Make, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="datarc.cache_limit: found 'much', expected a size such as 50G"):
        cached(make, tmp_path, datarc={"cache_limit": "much"})
    with pytest.raises(ConfigError, match="2 problems(.|\n)*cache_limit: found 5G without(.|\n)*cache_precision"):
        make(datarc={"cache_limit": "5G", "cache_precision": "float16"})
    assert dataclasses.asdict(make().data)["cache_teacher"] is None and make().taught is None


def test_run_pretrain_keeps_and_refuses_before_the_first_step(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files_of_run = ("-g", bench.model(tmp_path), "-c", bench.runner(tmp_path))
    command = ("-c", LAUNCH, "-u", "gendistiller", *files_of_run, "--cache-teacher")
    answer = succeed(run_python(*command, "kept", "-n", "x", cwd=tmp_path, env=bench.environment))
    assert answer.stderr.count("the teacher's layers of this training take about") == 1
    assert (tmp_path / "kept" / MARK).is_file() and len(files(tmp_path / "kept")) == 6 + 1
    answer = run_python(*command, tmp_path, "-n", "y", cwd=tmp_path, env=bench.environment)
    assert answer.returncode == 2 and answer.stderr.count("error:") == 1 and "Traceback" not in answer.stderr
    assert "expected a new or empty folder" in answer.stderr and not (tmp_path / "result/pretrain/y").exists()

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SUPERB_DATA", str(bench.data))
    commands: list[Any] = []
    longer = ("-e", "result/pretrain/x", "-o", "config.runner.total_steps=8", "--cache-teacher", "~/other")
    assert pretrain.main([*longer, "--cache-limit", "5G"], host=commands.append) == 0
    text = commands[0][commands[0].index("-o") + 1]
    assert f"datarc.cache_teacher='{Path.home()}/other'" in text and "datarc.cache_limit='5G'" in text
    assert pretrain.main(["-e", "result/pretrain/x", "--cache-teacher", "kept"], host=pytest.fail) == 0  # is finished

"""How much disk cached features take is said before they are computed, and held against what is free."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor, nn

from s3prl_gendistiller.cli import main
from s3prl_gendistiller.host import feature_store, layers
from s3prl_gendistiller.host.layers import Features
from s3prl_gendistiller.superb.cost import multiply_adds
from s3prl_gendistiller.superb.suite import cache_size, processes
from s3prl_gendistiller.superb.suite.suite import Suite
from s3prl_gendistiller.superb.tasks import TASKS
from tests.host.test_checkpoint import save_student
from tests.host.test_feature_cache import Upstream
from tests.superb.standin import FBANK

GIGABYTE = 10**9


class Learned(Upstream):
    """With weights, as hubert_base has them."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 2)

    def forward(self, wavs: list[Tensor]) -> dict[str, Any]:
        return super().forward(wavs)


@pytest.fixture
def upstreams(monkeypatch: pytest.MonkeyPatch) -> None:
    kinds: dict[str, Callable[[], nn.Module]] = {"fbank": Upstream, "hubert_base": Learned}
    load = layers.load_upstream
    monkeypatch.setattr(
        layers, "load_upstream", lambda name, *given: kinds[name]() if name in kinds else load(name, *given)
    )
    monkeypatch.setattr(multiply_adds, "size", lambda student: (1_000_000, 3.5))


def test_an_upstream_with_weights_is_kept_and_one_without_is_not(upstreams: None) -> None:
    hubert, fbank = (layers.kept_features(name, None, None, "hidden_states") for name in ("hubert_base", "fbank"))
    assert hubert.bytes_per_s == 3 * 5 * 4 * 50 and re.fullmatch(r"hubert_base-[0-9a-f]{16}", hubert.folder)
    assert fbank == Features("fbank", 0.0)


def test_speech_that_two_tasks_read_counts_once(suite: Suite, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SUPERB_DATA")
    asked = Suite([FBANK], [TASKS[name] for name in ("pr", "asr", "sid")], "official", suite.out)
    assert cache_size.cached_seconds(asked) == pytest.approx(111.4 * 3600)  # and SID crops at random there
    mini = Suite([FBANK], asked.tasks, "mini", suite.out)
    assert cache_size.cached_seconds(mini) == cache_size.cached_seconds(asked)
    small = Suite([FBANK], asked.tasks, "small", suite.out)
    assert cache_size.cached_seconds(small) == 2708 + 2117


def test_of_a_small_corpus_what_is_there_counts(ten: Path, suite: Suite, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUPERB_DATA", str(ten))
    assert 10 < cache_size.cached_seconds(Suite([FBANK], [TASKS["ks"]], "small", suite.out)) < 200


def test_a_plan_says_what_features_take(
    upstreams: None, suite: Suite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = save_student(tmp_path / "states-3.ckpt")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SUPERB_DATA")
    command = ["superb", "--student", f"mine={mine}", "--student", "hubert_base", "--student", "fbank"]
    command += ["--preset", "official", "--tasks", "pr", "--cache-features", "kept", "--cache-limit", "50G"]
    assert main([*command, "--dry-run"]) == 0
    printed = capsys.readouterr().out
    (line,) = (line for line in printed.splitlines() if line.startswith("# --cache-features kept: "))
    assert "features of 111.4 hours of speech take up to" in line and "at most 50 GB are kept" in line
    assert re.search(r"\(mine [\d.]+ GB, hubert_base 1.2 GB, fbank 0 B\)", line) and "of the disk are free" in line
    runs = [line for line in printed.splitlines() if line.startswith("run_downstream.py")]
    assert all(("--cache-features" in line) == ("-u fbank" not in line) for line in runs if "-m train" in line)
    assert not (tmp_path / "kept").exists()


def test_features_that_find_no_room_are_refused_before_anything_runs(
    upstreams: None, suite: Suite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    started: list[object] = []
    monkeypatch.setattr(processes, "running", lambda *given: started.append(given))
    monkeypatch.setattr(feature_store.shutil, "disk_usage", lambda path: argparse.Namespace(free=GIGABYTE))
    command = ["superb", "--student", "hubert_base", "--tasks", "ks", "--out", str(suite.out)]
    assert main([*command, "--cache-features", "kept"]) == 2
    error = capsys.readouterr().err
    assert "1 GB of the disk are free; give --cache-limit (such as 50G)" in error
    assert started == [] and not suite.out.exists() and not Path("kept").exists()
    (tmp_path / "file").touch()
    for wrong, message in (
        (["--cache-features", "file/x"], "--cache-features file/x"),
        (["--cache-features", "kept", "--cache-limit", "much"], "--cache-limit: found 'much', expected a size"),
        (["--cache-limit", "5G"], "--cache-limit: found without --cache-features"),
        (["--seed", "-1"], "seed"),
        (["--seed", str(2**32)], "seed"),
        (["--halving"], "--halving: found without a search"),
        (["--lr", "asr=1e-3"], "--lr asr=1e-3: found"),
        (["--lr", "ks=nan"], "--lr ks=nan: expected"),
        (["--lr", "ks=1e-3,1e-3"], "--lr ks=1e-3,1e-3"),
        (["--lr", "ks=-1e-3"], "--lr ks=-1e-3: expected"),
        (["--lr", "ks=1e-3", "ks=1e-4"], "--lr ks=1e-4"),
    ):
        assert main([*command, *wrong]) == 2
        assert message in capsys.readouterr().err and started == [] and not suite.out.exists()

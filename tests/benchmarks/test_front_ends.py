"""The benchmark of front ends: its forms, its clocks, and its tables, with tiny networks."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import Tensor, nn

from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.superb.cost import leaderboard_protocol
from tests.benchmarks.stock.test_distiller import TINY_HUBERT
from tests.benchmarks.test_scripts import load
from tests.benchmarks.tiny_scale import ship_tiny_configs


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script with a tiny configuration in place of paper scale, and a tiny teacher."""
    found = load("front_ends")
    ship_tiny_configs(tmp_path, monkeypatch)
    monkeypatch.setattr(found, "HUBERT_BASE", TINY_HUBERT)
    monkeypatch.setattr(found, "CROP_SAMPLES", 4_000)
    monkeypatch.setattr(leaderboard_protocol, "LENGTHS", (3_200, 6_400))
    monkeypatch.setattr(torch, "set_num_threads", lambda threads: None)  # other tests of this process have their own
    return found


class Stock(nn.Module):
    """In place of s3prl's step, which is not installed."""

    def __init__(self, host: Path, config: dict, teacher: Path) -> None:
        super().__init__()
        self.linear = nn.Linear(4_000, len(config["distiller"]["pred_layer_id"]))

    def forward(self, wavs: Tensor) -> Tensor:
        return self.linear(wavs).square().mean()


def test_forms_are_of_paper_scale_and_may_stop_early() -> None:
    found = load("front_ends").contenders(["mel+position_31@1", "mel", "distilhubert_mel"])
    slim, mel, baseline = found.values()
    assert list(found) == ["mel+position_31@1", "mel", "distilhubert_mel"]
    assert (slim.steps, slim.config.student.conv_pos, slim.config.student.encoder_embed_dim) == (1, 31, 768)
    assert (mel.steps, mel.config.student.conv_pos, mel.config.student.front_end) == (None, 128, "mel")
    assert baseline.config.student.front_end == "mel" and baseline.config.student.dropout == 0.1


def test_every_wrong_form_is_named() -> None:
    with pytest.raises(UserError) as raised:
        load("front_ends").contenders(["nothing", "mel@4", "distilhubert@1", "recur+distilhubert_mel", "mel", "mel"])
    nothing, beyond, baseline, two, twice = str(raised.value).splitlines()
    assert "found nothing, expected a YAML file or one of" in nothing
    assert "found mel@4, expected @1 to @3" in beyond
    assert "found distilhubert@1, expected no @, because it generates no layers" in baseline
    assert "parts of distilhubert and gendistiller" in two
    assert twice == "--forms: found mel more than once, expected a name of its own for each form"


def test_the_tables_compare_with_s3prls_own(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(script, "StockStep", Stock)
    monkeypatch.setattr(script, "check_host", lambda host: None)
    out = tmp_path / "out.md"
    forms = ["gendistiller", "mel@1", "distilhubert"]
    options = ["--seconds", "0.2", "0.3", "--rounds", "1", "--out", str(out)]
    assert script.run([*options, "--forms", *forms, "--s3prl", str(tmp_path)]) == 0
    text = out.read_text()
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("|")]
    cost = {row[0]: row[1:] for row in rows if len(row) == 7}
    steps = {row[0]: row[1:] for row in rows if len(row) == 4}
    assert cost["model"][2:] == ["0.2 s: s", "0.2 s: times as fast", "0.3 s: s", "0.3 s: times as fast"]
    assert list(cost)[2:] == ["s3prl's DistilHuBERT", *forms]
    assert cost["s3prl's DistilHuBERT"][:2] == cost["distilhubert"][:2]  # one network in two classes
    assert cost["s3prl's DistilHuBERT"][3] == cost["s3prl's DistilHuBERT"][5] == "1.00"
    assert list(steps)[2:] == ["s3prl's DistilHuBERT", "gendistiller", "distilhubert"]
    assert "Inference on 1 thread, training on 2" in text and text in capsys.readouterr().out


def test_without_the_source_tree_only_inference_is_measured(script: ModuleType, tmp_path: Path) -> None:
    out = tmp_path / "out.md"
    assert script.run(["--seconds", "0.2", "--rounds", "1", "--out", str(out), "--forms", "mel"]) == 0
    assert "Training was not measured" in out.read_text() and "steps per s" not in out.read_text()


def test_wrong_flags_are_refused(tmp_path: Path) -> None:
    script = load("front_ends")
    for flags in (["--rounds", "0"], ["--seconds", "0.02"]):
        with pytest.raises(UserError, match="expected at least 1 round, and utterances of at least one frame"):
            script.run([*flags, "--out", str(tmp_path / "out.md")])
    with pytest.raises(UserError, match="--s3prl: .* lacks pretrain"):
        script.run(["--forms", "mel", "--s3prl", str(tmp_path), "--out", str(tmp_path / "out.md")])
    assert not list(tmp_path.iterdir())

"""`gendistiller macs` in a process: the table, the picture, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml
from torch import Tensor, nn

from s3prl_gendistiller.cli import main
from s3prl_gendistiller.superb.cost import counted_models
from s3prl_gendistiller.superb.cost.leaderboard_protocol import LENGTHS
from s3prl_gendistiller.superb.leaderboard.published_models import PUBLISHED
from tests.bench import Bench
from tests.host.test_checkpoint import CONFIG


def cells(text: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("|")]


def test_steps_stand_beside_the_teacher(tmp_path: Path, bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    config, out = tmp_path / "small.yaml", tmp_path / "macs.png"
    narrow = {**CONFIG["student"], "encoder_embed_dim": 12}
    config.write_text(yaml.safe_dump({**CONFIG, "teacher": {"folder": str(bench.teacher)}, "student": narrow}))
    given = ["--config", str(config), "--student", f"teacher={bench.teacher}", "--steps", "all", "--out", str(out)]
    assert main(["macs", *given, "--no-progress"]) == 0
    answer = capsys.readouterr().out
    assert "small: layerwise: 2 projections from the student's 12 channels to the teacher's 24, 624 param" in answer
    header, _, *rows = cells(answer)
    assert header[3] == "G multiply-adds, 224.86 s" and header[5] == "short 1.28-3.44 s"
    assert [row[:2] for row in rows[:3]] == [["teacher", ""], ["small", "1"], ["small", "2"]]
    assert float(rows[2][3]) > float(rows[1][3]) > 0
    for row in rows[:3]:
        assert sum(map(float, row[5:])) == pytest.approx(float(row[3]), abs=0.03)
        assert float(row[4]) == pytest.approx(float(row[3]) / 224.86, abs=0.001)
    published = {row[0]: row[3] for row in rows[3:]}
    assert published["HuBERT Base (published)"] == "1669"
    assert len(published) == sum(model.gmacs is not None for model in PUBLISHED)
    assert out.read_bytes().startswith(b"\x89PNG")


def test_fbank_is_the_leaderboards_number_and_its_fourier_transforms(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["macs", "--student", "fbank", "--no-progress"]) == 0
    said = capsys.readouterr().out
    row = cells(said)[2]
    frames = sum((samples - 400) // 160 + 1 for samples in LENGTHS)
    transforms = frames * 1.25 * 512 * 9 / 1e9
    assert "not counted" not in said
    assert row[0] == "fbank" and row[2] == "0"
    assert float(row[3]) == pytest.approx(0.48 + transforms, abs=0.01)  # 0.48: the leaderboard's number


def test_what_is_left_out_is_said(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    class Projected(nn.Module):
        def forward(self, wavs: list[Tensor]) -> Tensor:
            return torch.mv(wavs[0][:16_000].view(100, 160), torch.ones(160))

    monkeypatch.setattr(counted_models, "load_upstream", lambda name, checkpoint: Projected())
    assert main(["macs", "--student", "fbank", "--no-progress"]) == 0
    assert "fbank: not counted: mv" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([], "neither --student nor --config"),
        (["--student", "fbnk"], "expected an upstream of s3prl.hub; close to it: fbank"),
        (["--config", "none.yaml"], "none.yaml: no such file"),
        (["--config", "none.yaml", "mine=gone.yaml"], "gone.yaml: no such file"),
        (["--config", "pretrain_configs/ablations/plain.yaml", "--steps", "4"], "expected 1..3, what plain generates"),
    ],
)
def test_mistakes_are_named_before_anything_is_counted(
    given: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["macs", *given, "--out", str(tmp_path / "x.png")]) == 2
    assert said in capsys.readouterr().err and not list(tmp_path.iterdir())


@pytest.mark.parametrize("value", ["0", "two", "-1"])
def test_a_number_of_steps_is_whole(value: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["macs", "--config", "x.yaml", f"--steps={value}"]) == 2
    assert "expected a whole number" in capsys.readouterr().err

"""The benchmark of inference: its rows, its ratios and its picture, with tiny networks."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.superb.cost import leaderboard_protocol
from tests.benchmarks.test_scripts import load
from tests.benchmarks.tiny_scale import ship_tiny_configs


class Teacher(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(1, 8, 400, 320)

    def forward(self, wavs: list[Tensor]) -> Tensor:
        return self.conv(torch.stack(wavs).unsqueeze(1))


def test_every_form_is_measured_in_torch_and_as_onnx(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    script = load("inference")
    ship_tiny_configs(tmp_path, monkeypatch)
    monkeypatch.setattr(script, "teacher", Teacher)
    monkeypatch.setattr(leaderboard_protocol, "LENGTHS", (3_200, 6_400))
    monkeypatch.setattr(torch, "set_num_threads", lambda threads: None)  # other tests of this process have their own
    out = tmp_path / "out"
    flags = ["--seconds", "0.2", "0.3", "--threads", "1", "--rounds", "1", "--out", str(out)]
    assert script.run([*flags, "--forms", "gendistiller", "mel@1", "--calibration", str(tmp_path / "nothing")]) == 0
    text = (out / "table.md").read_text()
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("|")]
    forms = [(row[0], row[1]) for row in rows[2:]]
    assert forms == [
        ("s3prl's DistilHuBERT", "torch"),
        ("HuBERT Base (teacher)", "torch"),
        ("gendistiller", "torch"),
        ("gendistiller", "ONNX"),
        ("mel@1", "torch"),
    ]
    assert all(float(row[4]) >= 0 and float(row[5]) > 0 for row in rows[2:])  # memory and speed
    assert rows[2][5] == rows[2][6] == "1.00" and rows[2][7].endswith("%") and not rows[5][7]
    assert "gendistiller, ONNX int8:" in text and "nothing" in text  # why a row is missing
    assert (out / "chart.png").read_bytes()[:4] == b"\x89PNG" and text in capsys.readouterr().out


def test_wrong_numbers_are_refused_before_the_work(tmp_path: Path) -> None:
    script = load("inference")
    for flags in (["--rounds", "0"], ["--threads", "0"], ["--seconds", "0.001"]):
        with pytest.raises(UserError, match="expected 1 or more"):
            script.run([*flags, "--out", str(tmp_path / "out")])
    assert not (tmp_path / "out").exists()

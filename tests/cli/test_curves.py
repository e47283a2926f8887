from __future__ import annotations

from pathlib import Path

import pytest

from s3prl_gendistiller.cli import main
from s3prl_gendistiller.distill.metrics import append_metrics


def write_run(folder: Path) -> Path:
    folder.mkdir()
    for step in (10, 20, 30):
        report = {"loss": 3 / step, "l1_layer2": 2 / step, "cosine_layer2": 1 - 1 / step}
        append_metrics(folder, "train", step, report)
        append_metrics(folder, "valid", step, report)
    return folder


def test_runs_become_one_picture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = [str(write_run(tmp_path / name)) for name in ("ours", "theirs")]
    out = tmp_path / "pictures" / "curves.png"
    assert main(["curves", *runs, "--out", str(out)]) == 0
    assert capsys.readouterr().out.strip() == str(out)
    content = out.read_bytes()
    assert content.startswith(b"\x89PNG") and len(content) > 10_000


def test_a_run_without_metrics_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["curves", str(tmp_path)]) == 2
    assert "metrics.jsonl: not there" in capsys.readouterr().err

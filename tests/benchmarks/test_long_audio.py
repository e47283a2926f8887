"""benchmarks/long_audio.py with a tiny student: both tables, and recordings that are too short."""

from __future__ import annotations

from pathlib import Path

import pytest
import soundfile

import long_audio
from s3prl_gendistiller.cli.launch import guarded
from tests.host.test_checkpoint import save_student
from tests.inference.students import speech


def test_both_tables_are_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(long_audio, "CHUNKS", ((4.0, 1.0), (0.5, 0.2)))
    monkeypatch.setattr(long_audio, "CONTEXTS", (0.5, 1.0))
    save_student(tmp_path / "states-3.ckpt")
    (tmp_path / "audio").mkdir()
    for seed in range(2):
        soundfile.write(tmp_path / f"audio/{seed}.wav", speech(20_000, seed).numpy(), 16_000)
    given = [str(tmp_path / "states-3.ckpt"), "--audio", str(tmp_path / "audio")]
    assert guarded(long_audio.run, [*given, "--seconds", "2", "--out", str(tmp_path / "table.md")]) == 0
    text = (tmp_path / "table.md").read_text()
    assert text == capsys.readouterr().out and "1 student(s), 2 s" in text
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if " s " in line]
    assert rows[0] == ["4 s + 1 s", "0.000", "0.000", "0.000"] and float(rows[1][2]) > 0
    assert [row[:3] for row in rows[2:4]] == [["0.5 s", "0 s", "0.51 s"], ["1 s", "0 s", "0.51 s"]]
    assert len(rows) == 2 + 2 * 3
    assert guarded(long_audio.run, [*given, "--seconds", "3"]) == 2
    assert "found 2.5 s, expected 3 s; see --seconds" in capsys.readouterr().err

"""`gendistiller corpus` as a person types it."""

from __future__ import annotations

from pathlib import Path

import pytest

from s3prl_gendistiller.cli import main


def test_writes_then_checks_then_names_the_damage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "data")
    assert main(["corpus", out, "--size", "tiny", "--tasks", "sf,qbe", "--workers", "1", "--no-progress"]) == 0
    said = capsys.readouterr()
    assert f"{out}/SNIPS\n" in said.out and f"{out}/quesst14Database\n" in said.out
    assert f"export SUPERB_DATA={out}" in said.out
    assert said.err == ""
    assert main(["corpus", out, "--check"]) == 0
    assert "SNIPS: 29 files as written" in capsys.readouterr().out
    file = next((tmp_path / "data/SNIPS/test").iterdir())
    file.write_bytes(b"x" + file.read_bytes()[1:])
    assert main(["corpus", out, "--check"]) == 2
    error = capsys.readouterr().err
    assert f"1 problems in {out}:\n  {file}: corrupted; repeat the command" in error


def test_progress_is_shown_unless_it_is_not_wanted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["corpus", str(tmp_path), "--size", "tiny", "--tasks", "sf", "--workers", "1"]) == 0
    assert "SNIPS: 100%" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--size", "large"], "--size: found large, expected one of tiny, small, medium, bench"),
        (["--tasks", "ks", "asvv"], "--tasks: found asvv, expected one of pr, asr, ks, qbe, sid, asv, sd, ic, sf, er"),
        (["--workers", "0"], "--workers: found '0'; expected a whole number of at least 1"),
        (["--check", "--size", "tiny"], "--size: found with --check"),
        (["--check"], "no such folder"),
    ],
)
def test_mistakes_are_one_message_and_status_2(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["corpus", str(tmp_path / "data"), *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error and "Traceback" not in error
    assert not (tmp_path / "data").exists()

"""`gendistiller board`: one file from results, and mistakes in one message."""

from __future__ import annotations

from pathlib import Path

import pytest

from s3prl_gendistiller.cli import main
from s3prl_gendistiller.superb.board import page
from tests.superb.board.made import student, suite, with_everything

LARGEST = 2_000_000
"""Most bytes of a page without its data."""


@pytest.fixture
def no_libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaves out Vega, whose script takes seconds to make."""
    monkeypatch.setattr(page, "_libraries", lambda: "")


def test_the_page_is_one_file_with_everything_in_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "new" / "board.html"
    assert main(["board", *map(str, with_everything(tmp_path)), "--out", str(out)]) == 0
    assert f"{out}: 8 rows of yours beside published ones" in capsys.readouterr().out
    text = out.read_text()
    assert "vegaEmbed" in text and "student_001" in text and "WavLM Base+" in text
    assert 500_000 < len(text.encode()) < LARGEST and [path.name for path in out.parent.iterdir()] == ["board.html"]


def test_without_results_the_page_holds_published_rows(tmp_path: Path, no_libraries: None) -> None:
    assert main(["board", "--out", str(tmp_path / "board.html")]) == 0
    assert "DistilHuBERT" in (tmp_path / "board.html").read_text()


def test_a_page_is_the_same_for_the_same_results(tmp_path: Path, no_libraries: None) -> None:
    places = list(map(str, with_everything(tmp_path)))
    for name in ("one.html", "two.html", "one.html"):
        assert main(["board", *places, "--out", str(tmp_path / name)]) == 0
    assert (tmp_path / "one.html").read_bytes() == (tmp_path / "two.html").read_bytes()


def test_mistakes_are_named_and_leave_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], no_libraries: None
) -> None:
    folder = str(suite(tmp_path / "superb", {"mine": student({"ks": {"acc": 9.0}})}))
    out = tmp_path / "out" / "board.html"

    def refused(*arguments: str) -> str:
        assert main(["board", "--out", str(out), *arguments]) == 2
        assert not out.exists()
        return capsys.readouterr().err

    assert "results.json: no such file" in refused(str(tmp_path))
    assert "named twice" in refused(folder, folder)
    assert "--compare: found mine, expected a student that stands in one suite with another" in refused(
        folder, "--compare", "mine"
    )
    assert "expected the name of a file" in refused(folder, "--out", folder)
    (tmp_path / "page.html").write_text("mine")
    error = refused(folder, "--out", str(tmp_path / "page.html"))
    assert "found a file that is no board" in error and (tmp_path / "page.html").read_text() == "mine"


def test_nothing_is_opened_unless_asked(tmp_path: Path, no_libraries: None, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    out = tmp_path / "board.html"
    assert main(["board", "--out", str(out)]) == 0 and not opened
    assert main(["board", "--out", str(out), "--open"]) == 0 and opened == [out.as_uri()]

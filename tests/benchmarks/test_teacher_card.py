from __future__ import annotations

import json
from pathlib import Path

import pytest

import teacher_card
from s3prl_gendistiller.shipped import shipped_folder

QUALITY = {
    "trained": {"phone purity %": [30.0, 41.26], "KS acc %": [90.0, 95.0]},
    "random": {"phone purity %": [10.0, 12.0], "KS acc %": [50.0, 40.0]},
    "mfcc": {"phone purity %": [30.4]},
}
TASKS = (
    'student,runs,parameters,PR PER % ↓,"PR PER % ↓, standard deviation","PR PER % ↓, n",KS acc % ↑\n'
    "fbank,1,0,60.46,,1,8.0\nhubert_guided,1,5560704,13.06,,1,\nmine,1,9,7.77,,1,9\n"
)


@pytest.fixture
def teacher(tmp_path: Path) -> Path:
    folder = tmp_path / "hubert_guided"
    folder.mkdir()
    (folder / "README.md").write_text(f"# T\n\n{teacher_card.BEGIN}\nold\n{teacher_card.END}\n\nLimits.\n")
    (tmp_path / "quality.json").write_text(json.dumps(QUALITY))
    (tmp_path / "table.csv").write_text(TASKS)
    return folder


def test_the_card_shows_the_measured_files_and_keeps_its_words(teacher: Path, tmp_path: Path) -> None:
    files = ["--quality", str(tmp_path / "quality.json"), "--tasks", str(tmp_path / "table.csv")]
    assert teacher_card.run(["--teacher", str(teacher), *files]) == 0
    card = (teacher / "README.md").read_text()
    assert card.startswith("# T\n") and card.endswith("\nLimits.\n") and "old" not in card
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in card.splitlines() if "|" in line]
    assert ["phone purity %", "30.0", "41.3", "12.0", "30.4"] in rows and [
        "KS acc %",
        "90.0",
        "95.0",
        "50.0",
        "",
    ] in rows
    assert ["fbank", "60.5", "8.0"] in rows and ["hubert_guided", "13.1", ""] in rows and "mine" not in card
    assert teacher_card.run(["--teacher", str(teacher), "--check"]) == 0


def test_a_typed_figure_is_found(teacher: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = ["--quality", str(tmp_path / "quality.json"), "--tasks", str(tmp_path / "table.csv")]
    teacher_card.run(["--teacher", str(teacher), *files])
    path = teacher / "README.md"
    path.write_text(path.read_text().replace("13.1", "9.9"))
    assert teacher_card.run(["--teacher", str(teacher), "--check"]) == 1
    assert "not those of the measured files" in capsys.readouterr().out


@pytest.mark.parametrize("wrong", ["no marker", f"{teacher_card.END} {teacher_card.BEGIN}"])
def test_a_card_without_markers_is_left_alone(wrong: str) -> None:
    with pytest.raises(teacher_card.UserError, match="holds no line"):
        teacher_card.with_tables(wrong, "table")


def test_the_shipped_card_is_made_from_its_measured_files() -> None:
    assert teacher_card.run(["--teacher", str(shipped_folder("teachers") / "hubert_guided"), "--check"]) == 0


def test_a_table_of_other_models_is_refused() -> None:
    with pytest.raises(teacher_card.UserError, match="holds no row elsewhere"):
        teacher_card.tasks_table(TASKS, "elsewhere")

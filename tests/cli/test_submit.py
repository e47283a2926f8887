"""`gendistiller submit`: from a suite, from folders, and the upstream's folder; nothing half-done."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
import torch

from s3prl_gendistiller.cli import main
from s3prl_gendistiller.superb.cost import multiply_adds
from tests.host.test_checkpoint import save_student
from tests.superb.entry.test_from_suite import write_suite
from tests.superb.experiments import expected, expert_config, write_experiment
from tests.superb.noise_corpora import write_ten

ER = [f"er_fold{fold}" for fold in range(1, 6)]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_ten(tmp_path_factory.mktemp("ten"))


@pytest.fixture
def folders(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    monkeypatch.chdir(tmp_path)
    found = {}
    for flag in ("ks", "sid", *ER):
        config = {"downstream_expert": expert_config(data, flag)}
        found[flag] = write_experiment(tmp_path / "runs" / flag, flag, expected(flag, config).ids, data)
    return found


@pytest.fixture
def suite(folders: dict[str, Path], tmp_path: Path) -> Path:
    checkpoint = save_student(tmp_path / "states-3.ckpt")
    er = {f"er-fold{flag[-1]}": folders[flag] for flag in ER}
    tasks = {"ks": {"ks": folders["ks"]}, "sid": {"sid": folders["sid"]}, "er": er}
    return write_suite(tmp_path / "suite", checkpoint, tasks)


def submit(*arguments: object) -> int:
    return main(["submit", *map(str, arguments)])


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    capsys.readouterr()
    assert submit(*arguments) == 2
    error = capsys.readouterr().err
    assert "Traceback" not in error and not list(Path.cwd().rglob("predict.zip"))
    return error


def packed(folder: str) -> set[str]:
    with zipfile.ZipFile(Path(folder) / "predict.zip") as archive:
        return {Path(name).parts[1] for name in archive.namelist() if not name.endswith("/")}


def test_a_suite_is_packed_and_what_is_left_out_is_named(suite: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert submit(suite, "--student", "mine") == 0
    assert packed("result/submission") == {"ks_public", "sid_public", *(f"{fold}_public" for fold in ER)}
    said = capsys.readouterr().out
    assert "ks_public: 12 predictions, ids as in test_truth.txt and " in said
    assert "without PR, ASR, QBE, ASV, SD, IC, SF, which the leaderboard will not show" in said
    assert submit(suite, "--tasks", "er", "--out", "five") == 0
    assert packed("five") == {f"{fold}_public" for fold in ER}


def test_folders_are_packed_by_our_flags_and_by_s3prls(folders: dict[str, Path]) -> None:
    assert submit("--er", *(folders[flag] for flag in reversed(ER)), "--ks", folders["ks"], "--out", "ours") == 0
    official = [word for flag in (*ER, "ks") for word in (f"--{flag}", folders[flag])]
    assert submit(*official, "--output_dir", "theirs") == 0
    assert packed("ours") == {"ks_public", *(f"{fold}_public" for fold in ER)}
    assert Path("ours/predict.zip").read_bytes() == Path("theirs/predict.zip").read_bytes()


def test_a_folder_takes_the_place_of_the_suites(
    suite: Path, folders: dict[str, Path], data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (suite / "runs/mine/sid/test_predict.txt").write_text("broken")
    assert "sid_public: " in refused(capsys, suite)
    ids = (suite / "runs/mine/sid/test_truth.txt").read_text().split()[::2]
    other = write_experiment(Path("other"), "sid", ids, data)
    assert submit(suite, "--sid", other, "--tasks", "sid", "ks") == 0
    with zipfile.ZipFile("result/submission/predict.zip") as archive:
        assert archive.read("predict/sid_public/predict.txt") == (other / "test_predict.txt").read_bytes()


def test_everything_wrong_is_said_at_once_and_nothing_is_written(
    suite: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (suite / "runs/mine/er-fold4/test_fold4_predict.txt").unlink()
    (suite / "runs/mine/ks/test_predict.txt").write_text("yes-a_nohash_0.wav yes\n")
    error = refused(capsys, suite)
    assert "nothing was packed; 3 problems:" in error and "er: fold 4 is missing: no test_fold4_predict.txt in" in error
    assert "1 predictions, expected 12 by test_truth.txt" in error and "speech_commands_test_set_v0.01" in error
    assert "pr has no result of mine" in refused(capsys, suite, "--tasks", "pr", "ks")


def test_mistakes_in_the_command_are_named(suite: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "found no experiment; give the folder of a suite" in refused(capsys)
    assert "--steps: found without --hub-folder" in refused(capsys, suite, "--steps", 1)
    assert "--student: found without the folder of a suite" in refused(capsys, "--student", "mine", "--ks", "x")
    assert "--er: found together with" in refused(capsys, "--er", "a", "--er_fold2", "b")
    assert "er: fold 1 is missing: no test_fold1_predict.txt in a, b" in refused(capsys, "--er", "a", "b")
    assert "x/test_predict.txt: no such file; evaluate this run" in refused(capsys, "--ks", "x")
    assert "found no student" in refused(capsys, "--hub-folder", "hub")
    assert "already there; give a new folder" in refused(capsys, suite, "--hub-folder", "suite")
    assert "found fbank as student, expected the checkpoint" in refused(
        capsys, "--checkpoint", "fbank", "--hub-folder", "hub"
    )
    assert "steps: found 3, expected 1..2" in refused(
        capsys, "--checkpoint", "states-3.ckpt", "--steps", 3, "--hub-folder", "hub"
    )
    assert not Path("hub").exists() and not Path("result/submission").exists()


def test_a_mini_suite_is_no_entry_and_its_student_can_be_exported(
    suite: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = suite / "results.json"
    results.write_text(results.read_text().replace('"preset": "small"', '"preset": "mini"'))
    assert "found results of the preset mini, expected those of" in refused(capsys, suite)
    assert submit(suite, "--hub-folder", "hub") == 0
    card = Path("hub/README.md").read_text()
    assert "SUPERB's public set with a tenth of the steps: no SUPERB numbers" in " ".join(card.split())


def test_a_smaller_archive_does_not_take_the_place_of_a_larger_one(
    suite: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert submit(suite) == 0
    before = Path("result/submission/predict.zip").read_bytes()
    assert submit(suite, "--tasks", "ks", "er") == 2
    assert "predict.zip: holds sid_public as well" in capsys.readouterr().err
    assert Path("result/submission/predict.zip").read_bytes() == before
    assert submit(suite) == 0 and submit(suite, "--tasks", "ks", "--out", "ks") == 0


@pytest.mark.parametrize("blocked", ["--out", "--hub-folder"])
def test_a_place_that_cannot_be_written_is_named_first(
    blocked: str, suite: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("file").touch()
    for place in ("file/inside", "/proc/inside"):
        assert f"{blocked} {place}" in refused(capsys, suite, blocked, place)
    assert Path("file").read_bytes() == b"" and not Path("result/submission").exists()


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Costs without s3prl, whose globals another process should change."""
    asked: list[object] = []
    monkeypatch.setattr(multiply_adds, "size", lambda student: asked.append(student) or (12_345, 0.25))
    return asked


def test_the_upstream_of_a_suite_comes_with_its_scores(
    suite: Path, counted: list, capsys: pytest.CaptureFixture[str]
) -> None:
    assert submit(suite, "--hub-folder", "hub/mine") == 0
    assert not Path("result/submission").exists() and counted[0].checkpoint == Path("states-3.ckpt").absolute()
    card = Path("hub/mine/README.md").read_text()
    assert card.startswith("---\n") and "# mine" in card and "- 12,345 parameters" in card
    assert "| keyword spotting | acc % | 50.00 |" in card and "no SUPERB numbers" in card
    assert "license: apache-2.0" in card and "model-index" not in card  # of scores that are not SUPERB's
    assert "hub/mine: README.md, config.json, expert.py, model.safetensors" in capsys.readouterr().out
    assert submit(suite, "--hub-folder", "both", "--out", "both_too") == 0
    assert Path("both/expert.py").is_file() and packed("both_too")


def test_the_upstream_of_another_checkpoint_than_the_suites_is_refused(
    suite: Path, counted: list, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.manual_seed(3)
    save_student(Path("other.ckpt"))
    arguments = (suite, "--hub-folder", "hub", "--out", "o")
    assert "was made of another student" in refused(capsys, *arguments, "--checkpoint", "other.ckpt")
    assert "was made of another student" in refused(capsys, *arguments, "--steps", 1)
    Path("states-3.ckpt").rename("moved.ckpt")
    assert "name it with --checkpoint" in refused(capsys, *arguments)
    assert submit(suite, "--hub-folder", "hub", "--checkpoint", "moved.ckpt") == 0


def test_the_upstream_of_a_checkpoint_needs_no_suite(suite: Path, counted: list) -> None:
    assert submit("--checkpoint", "states-3.ckpt", "--steps", 1, "--hub-folder", "hub") == 0
    assert "## Scores" not in Path("hub/README.md").read_text() and counted[0].steps == 1

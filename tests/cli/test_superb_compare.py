"""`gendistiller superb --compare`: two tasks for real through s3prl, whose items make the numbers that it prints."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest

from s3prl_gendistiller.cli import main
from s3prl_gendistiller.formats.printed import printed_values
from s3prl_gendistiller.superb.tasks import TASKS
from s3prl_gendistiller.superb.tasks.items import read_items
from s3prl_gendistiller.superb.tasks.statistics import value
from tests.cli.test_superb import SHORT, superb
from tests.superb.noise_corpora import write_ten


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A suite of two models on KS and PR, four steps each."""
    folder = tmp_path_factory.mktemp("suite")
    command = ["--student", "fbank", "mfcc", "--tasks", "ks", "pr", "--out", "suite", "--jobs", "1", "-o", SHORT]
    answer = superb(*command, cwd=folder, data=write_ten(tmp_path_factory.mktemp("ten")))
    assert answer.returncode == 0 and "not kept" not in answer.stderr, answer.stderr[-3000:]
    return folder / "suite"


@pytest.fixture
def suite(finished: Path, tmp_path: Path) -> Path:
    """A copy, which a test may change; the results name the runs' first place."""
    return Path(shutil.copytree(finished, tmp_path / "moved"))


@pytest.mark.parametrize(("task", "metric"), [("ks", "acc"), ("pr", "per")])
def test_the_items_of_a_real_run_make_the_number_that_s3prl_prints(finished: Path, task: str, metric: str) -> None:
    for model in ("fbank", "mfcc"):
        run = finished / "runs" / model / task
        printed = printed_values((run / "superb_test.log").read_text(), "test", metric)[-1]
        items = read_items(run / "superb_items.csv")
        assert len(items.names) > 2
        assert value(TASKS[task].statistics[metric], items) == pytest.approx(100 * printed, abs=1e-4)


def rows(text: str) -> dict[str, list[str]]:
    found = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("| ")]
    return {row[0]: row for row in found}


def test_two_students_are_compared(suite: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["superb", "--out", str(suite), "--compare", "fbank", "mfcc"]) == 0
    printed = capsys.readouterr().out
    assert (suite / "compare_fbank_mfcc.md").read_text() in printed
    table = rows(printed)
    assert table["task"][3:5] == ["fbank", "mfcc"] and table["task"][-1] == "fbank is"
    entries = json.loads((suite / "results.json").read_text())["students"]
    for name, metric in (("KS acc % ↑", "acc"), ("PR PER % ↓", "per")):
        task = name.split()[0].lower()
        ours, theirs = (entries[model]["tasks"][task]["values"][metric] for model in ("fbank", "mfcc"))
        assert table[name][2:6] == ["1 / 1", f"{ours:.2f}", f"{theirs:.2f}", f"{ours - theirs:+.2f}"]
        low, high = (float(bound) for bound in table[name][6].split(" to "))
        assert low <= ours - theirs + 0.01 and ours - theirs - 0.01 <= high
    assert "fbank is one run" in printed


def test_a_planted_difference_is_called_better_and_the_other_way_worse(
    suite: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for model, every in (("fbank", 2), ("mfcc", 10)):  # wrong: one item in so many
        run = suite / "runs" / model / "ks"
        lines = [f"u{item},{int(item % every != 0)}\n" for item in range(300)]
        (run / "superb_items.csv").write_text("item,right\n" + "".join(lines))
        record = json.loads((run / "superb.json").read_text())
        record["tested"]["values"] = {"acc": 100 - 100 / every}
        (run / "superb.json").write_text(json.dumps(record))
    for pair, word in ((("fbank", "mfcc"), "worse"), (("mfcc", "fbank"), "better")):
        assert main(["superb", "--out", str(suite), "--tasks", "ks", "--compare", *pair]) == 0
        assert rows(capsys.readouterr().out)["KS acc % ↑"][-1] == word


def test_what_was_run_before_items_were_kept_is_read_from_what_the_expert_wrote(
    suite: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["superb", "--out", str(suite), "--compare", "fbank", "mfcc"]
    assert main(command) == 0
    before = capsys.readouterr().out
    for path in suite.rglob("superb_items.csv"):
        path.unlink()
    assert main(command) == 0
    assert capsys.readouterr().out == before


def test_a_run_without_predictions_is_named_with_what_to_do(suite: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = suite / "runs" / "mfcc" / "pr"
    (run / "superb_items.csv").unlink()
    (run / "test-hyp.ark").write_text((run / "test-ref.ark").read_text())  # of another checkpoint
    command = ["superb", "--out", str(suite), "--compare", "fbank", "mfcc"]
    assert main(command) == 0
    printed = capsys.readouterr().out
    assert "KS acc % ↑" in printed and "PR PER" not in rows(printed)
    assert f"PR is not compared: {run}: keeps no items of its test" in printed
    assert "make 0.0000 PER %" in printed and f"run_downstream.py -m evaluate -t test -e {run}" in printed
    assert "remove superb_items.csv" not in printed
    (run / "test-hyp.ark").unlink()
    assert main([*command, "--tasks", "pr"]) == 2
    error = capsys.readouterr().err
    assert "have no task to compare" in error and "test-hyp.ark: no such file" in error and "Traceback" not in error


def test_a_missing_package_is_named_with_its_extra(
    suite: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (suite / "runs" / "mfcc" / "pr" / "superb_items.csv").unlink()
    monkeypatch.setitem(sys.modules, "editdistance", None)
    assert main(["superb", "--out", str(suite), "--compare", "fbank", "mfcc"]) == 0
    printed = capsys.readouterr().out
    assert 'install: pip install "s3prl-gendistiller[pr]"' in printed and "-m evaluate" not in printed


def test_mistakes_are_named(suite: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def refused(*arguments: str) -> str:
        assert main(["superb", "--out", str(suite), *arguments]) == 2
        return capsys.readouterr().err

    error = refused("--compare", "fbnk", "mel")
    assert "did you mean fbank?" in error and "found mel, expected a student of" in error
    assert "found fbank twice" in refused("--compare", "fbank", "fbank")
    error = refused("--compare", "fbank", "mfcc", "--student", "mel", "--dry-run")
    assert "found beside --student, --dry-run" in error
    assert "--student: found none" in refused("--tasks", "ks")
    error = refused("--compare", "fbank", "mfcc", "--tasks", "sid")
    assert error.endswith("have no task to compare\nSID is not compared: fbank and mfcc have no result\n")
    (suite / "results.json").unlink()
    assert "results.json: no such file" in refused("--compare", "fbank", "mfcc")

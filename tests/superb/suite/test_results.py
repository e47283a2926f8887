"""What `gendistiller superb` leaves in a folder that holds results already: more of them, or what was there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from s3prl_gendistiller.cli import main
from s3prl_gendistiller.cli import superb as cli_superb
from s3prl_gendistiller.superb.suite import benchmark
from s3prl_gendistiller.superb.suite.report import FILES
from s3prl_gendistiller.superb.suite.suite import Suite
from tests.superb.standin import Host
from tests.superb.suite.conftest import Superb


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def table(folder: Path) -> list[list[str]]:
    lines = [line for line in (folder / "table.md").read_text().splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in (lines[0], *lines[2:])]


def test_a_smaller_command_leaves_the_table_as_it_is_and_a_new_one_adds_to_it(
    superb: Superb, suite: Suite, capsys: pytest.CaptureFixture[str]
) -> None:
    assert superb("--tasks", "ks", "er", names=("a", "a.2", "b")) == 0
    before = contents(suite.out)
    assert superb("--tasks", "ks", names=("b",)) == 0
    after = contents(suite.out)
    assert {Path(path).name for path in after if after[path] != before.get(path)} == set()
    assert superb("--tasks", "asv", names=("c",)) == 0
    head, a, b, c = table(suite.out)
    assert [cell for cell in head if "%" in cell] == ["KS acc % ↑", "ASV EER % ↓", "ER acc % ↑"]
    assert [row[0] for row in (a, b, c)] == ["a", "b", "c"] and a[-3:] == ["50.00 ± 0.00", "", "30.00 ± 0.00"]
    assert c[-3:] == ["", "30.00", ""] and a[1:3] == ["2 distillations", "100"]
    content = json.loads((suite.out / "results.json").read_text())
    assert list(content["students"]) == ["a", "a.2", "b", "c"] and set(content["students"]["b"]["tasks"]) == {
        "ks",
        "er",
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--seed", "5"],
            "made with another seed (found 1337, now 5); give --seeds 1337 5 for both in one table, or another --out",
        ),
        (["--features", "last"], "another features (found weighted, now last)"),
        (["-o", "config.runner.eval_step=3"], "ks: was made with another overrides (found , now config.runner"),
        (["--cache-features", "kept"], "another features (found weighted, now weighted, cached)"),
    ],
)
def test_a_refused_command_changes_nothing(
    arguments: list[str],
    message: str,
    superb: Superb,
    suite: Suite,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(suite.out.parent)
    assert superb("--tasks", "ks", "er", names=("a", "b")) == 0
    before = contents(suite.out.parent)
    assert superb("--tasks", "ks", "asv", *arguments) == 2
    assert message in capsys.readouterr().err and contents(suite.out.parent) == before


def test_a_row_is_of_one_student(
    superb: Superb, suite: Suite, students: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """Also where the other one has been evaluated on other tasks."""
    assert superb("--tasks", "ks") == 0
    before = contents(suite.out)
    students["a"] = students["b"]
    assert superb("--tasks", "er") == 2
    assert "was made with another student (found gendistiller_local" in capsys.readouterr().err
    assert contents(suite.out) == before


def test_results_on_synthetic_speech_stay_marked(superb: Superb, suite: Suite, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(cli_superb, "is_synthetic", lambda folder: True)
        assert superb("--tasks", "ks") == 0
    assert superb("--tasks", "er") == 0
    assert json.loads((suite.out / "results.json").read_text())["synthetic"] is True
    assert "The corpora are not those of SUPERB" in (suite.out / "table.md").read_text()


def test_runs_that_all_fail_leave_the_table_as_it_is(
    superb: Superb, suite: Suite, host: Host, capsys: pytest.CaptureFixture[str]
) -> None:
    assert superb("--tasks", "ks", names=("a", "b")) == 0
    before = {name: (suite.out / name).read_bytes() for name in FILES}
    host.broken = {"er"}
    assert superb("--tasks", "er") == 2
    assert "1 of 1 have no result" in capsys.readouterr().err
    assert all((suite.out / name).read_bytes() == content for name, content in before.items())


@pytest.mark.parametrize("blocked", [*FILES, ""])
def test_a_place_that_cannot_be_written_is_named_before_the_work(
    blocked: str, superb: Superb, suite: Suite, host: Host, capsys: pytest.CaptureFixture[str]
) -> None:
    if blocked:
        (suite.out / blocked).mkdir(parents=True)
    else:
        suite.out.touch()
    assert superb("--tasks", "ks") == 2
    assert f"--out {suite.out / blocked}" in capsys.readouterr().err and host.commands == []


def test_a_stopped_suite_says_how_it_goes_on(
    superb: Superb, suite: Suite, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(benchmark, "run_suite", stop)
        assert superb("--tasks", "ks") == 130
    error = capsys.readouterr().err
    assert "same command continues the suite" in error and "-a" not in error.split()
    assert superb("--tasks", "ks") == 0  # as it says


def test_a_number_that_another_command_found_stays_in_its_column(superb: Superb, suite: Suite) -> None:
    """Of a language model, which this command does not use."""
    assert superb("--tasks", "ks") == 0
    content = json.loads((suite.out / "results.json").read_text())
    decoded = {"values": {"wer": 30.0, "uer": 9.0, "wer_lm": 25.0}, "dev": {"0.01": None}}
    content["students"]["b"] = {"upstream": "x", "checkpoint": None, "tasks": {"asr": decoded}}
    (suite.out / "results.json").write_text(json.dumps(content))
    assert superb("--tasks", "er") == 0
    assert table(suite.out)[0][-5:-1] == [
        "ASR WER % ↓",
        "ASR letter error % ↓",
        "ASR WER with 4-gram % ↓",
        "KS acc % ↑",
    ]
    again = json.loads((suite.out / "results.json").read_text())
    assert again["students"]["b"]["tasks"]["asr"]["dev"] == {"0.01": None}


@pytest.mark.parametrize("printed", ["nan", "inf", "-0.5", "1.5"])
def test_what_is_no_accuracy_gets_into_no_table(
    printed: str, superb: Superb, suite: Suite, host: Host, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of a student with weights that are no numbers, say."""
    host.accuracy = printed
    assert superb("--tasks", "ks") == 2
    error = capsys.readouterr().err
    assert "a on ks: ks: test has no valid acc %: found" in error and "expected 0 to 100" in error
    assert not (suite.out / "results.json").exists()
    assert "tested" not in json.loads((suite.out / "runs/a/ks/superb.json").read_text())
    host.accuracy = None
    assert superb("--tasks", "ks") == 0 and host.trained() == ["ks"]


def edited(path: Path, *keys: str, value: Any) -> None:
    content = json.loads(path.read_text())
    section = content
    for key in keys[:-1]:
        section = section[key]
    section[keys[-1]] = value
    path.write_text(json.dumps(content))


VALUES = ("students", "a", "tasks", "ks", "values")
EDITS: list[tuple[tuple[str, ...], Any, str]] = [
    ((*VALUES, "acc"), float("nan"), "found NaN"),
    ((*VALUES, "acc"), 10**400, "digits"),
    ((*VALUES, "acc"), -3.0, "tasks.ks.values.acc: found -3.0, expected 0 to 100"),
    ((*VALUES, "acc"), "90", "tasks.ks.values.acc: found '90', expected 0 to 100"),
    ((*VALUES, "acc"), True, "tasks.ks.values.acc: found True"),
    (VALUES, {}, "tasks.ks.values.acc: missing"),
    ((*VALUES, "\x1b[2J"), "x", r"values.\x1b[2J: found 'x'"),
    (("students", "a", "tasks", "kws"), {"values": {}}, "found 'kws', expected pr, asr, ks"),
    (("students", "a", "tasks"), [], "students.a: found no mapping of tasks"),
    (("students", "a", "cost", "parameters"), -1, "cost.parameters: found -1, expected a whole number"),
    (("students", "a", "checkpoint"), "\x1b]0;title\x07", "checkpoint: found '\\x1b]0;title\\x07'"),
    (("students", "\x1b[31mred"), {"tasks": {}}, "found a name that no student can have"),
    (("students", "../out"), {"tasks": {}}, "found a name that no student can have"),
    (("students",), None, "found no mapping of students"),
    (("features",), "first", "features: found 'first', expected weighted or last"),
    (("seed",), "x", "seed: found 'x', expected a whole number"),
]


def test_a_results_file_that_was_edited_is_named_with_its_entry(
    superb: Superb, suite: Suite, capsys: pytest.CaptureFixture[str]
) -> None:
    assert superb("--tasks", "ks") == 0
    path = suite.out / "results.json"
    whole = path.read_text()
    for keys, value, message in EDITS:
        path.write_text(whole)
        edited(path, *keys, value=value)
        before = contents(suite.out)
        capsys.readouterr()
        for command in (["score", str(suite.out)], ["submit", str(suite.out), "--student", "a"], None):
            assert (superb("--tasks", "ks") if command is None else main(command)) == 2
            said = capsys.readouterr()
            assert str(path) in said.err and message in said.err and "\x1b" not in said.err + said.out
        assert contents(suite.out) == before
    path.unlink()  # as the message says
    assert superb("--tasks", "ks") == 0 and table(suite.out)[1][-1] == "50.00"


RECORDS: list[tuple[tuple[str, ...], Any, str]] = [
    (("tested", "values", "acc"), float("nan"), "found NaN"),
    (("tested", "values"), [1], "tested.values: found a list"),
    (("tested",), {}, "tested: found nothing, expected values, seconds and fallback"),
    (("trained",), 3, "trained: found 3, expected a mapping"),
    (("trained", "dev"), "0.9", "trained.dev: found '0.9', expected a finite number or null"),
    (("stages",), {"4": {"seconds": -1}}, "stages.4.seconds: found -1"),
    (("settings",), None, "found no settings"),
]


def test_a_record_of_a_run_that_was_edited_is_named(
    superb: Superb, suite: Suite, capsys: pytest.CaptureFixture[str]
) -> None:
    assert superb("--tasks", "ks") == 0
    path = suite.out / "runs/a/ks/superb.json"
    whole = path.read_text()
    for keys, value, message in RECORDS:
        path.write_text(whole)
        edited(path, *keys, value=value)
        before = contents(suite.out)
        assert superb("--tasks", "ks") == 2
        error = capsys.readouterr().err
        assert str(path) in error and message in error and "emove" in error and contents(suite.out) == before


@pytest.mark.parametrize("content", ["[" * 100_000, '{"students": ' * 5000, "\x00", "null", ""])
def test_a_results_file_that_is_none_is_named(content: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "results.json").write_text(content)
    assert main(["score", str(tmp_path)]) == 2
    assert str(tmp_path / "results.json") in capsys.readouterr().err

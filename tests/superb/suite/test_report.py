from __future__ import annotations

import json
from pathlib import Path

from s3prl_gendistiller.superb.leaderboard.scores import LEADERBOARD
from s3prl_gendistiller.superb.models import BenchmarkedModel
from s3prl_gendistiller.superb.suite.report import choose_references, write_report
from s3prl_gendistiller.superb.suite.results import Outcome
from s3prl_gendistiller.superb.suite.suite import Suite
from s3prl_gendistiller.superb.suite.table import markdown
from s3prl_gendistiller.superb.tasks import TASKS, choose_tasks


def outcomes(source: dict) -> dict[str, Outcome]:
    extra = {"asr": {"uer": 5.0}}
    return {task: Outcome({**values, **extra.get(task, {})}) for task, values in source.items()}


def test_a_suite_leaves_results_a_table_and_a_chart(tmp_path: Path) -> None:
    students = [
        BenchmarkedModel("fbank", "fbank"),
        BenchmarkedModel("mine.1", "x", Path("a.ckpt")),
        BenchmarkedModel("mine.2", "x"),
    ]
    suite = Suite(students, [TASKS["ks"], TASKS["sf"]], "small", tmp_path / "out")
    results = {
        "fbank": {"ks": Outcome({"acc": 40.0})},
        "mine.1": {"ks": Outcome({"acc": 80.0}), "sf": Outcome({"f1": 50.0, "cer": 30.0}, lr=0.1)},
        "mine.2": {"ks": Outcome({"acc": 90.0})},
    }
    paths = write_report(suite, results, ["fbank on sf: broke"], None, {})
    content = json.loads(paths[0].read_text())
    assert content["students"]["mine.1"]["tasks"]["sf"]["lr"] == 0.1 and content["failures"] == ["fbank on sf: broke"]
    assert content["students"]["mine.2"]["kind"] == "mine" and content["students"]["fbank"]["score"] is None
    lines = paths[1].read_text().splitlines()
    assert [cell.strip() for cell in lines[0].split("|")[1:-1]] == [
        "student",
        "runs (n)",
        "KS acc % ↑",
        "SF slot F1 % ↑",
        "SF slot CER % ↓",
    ]
    assert [cell.strip() for cell in lines[2].split("|")[1:-1]] == ["fbank", "1", "40.00", "", ""]
    assert [cell.strip() for cell in lines[3].split("|")[1:-1]] == [
        "mine",
        "2 distillations",
        "85.00 ± 7.07",
        "50.00 (n 1)",
        "30.00 (n 1)",
    ]
    assert lines[-1].startswith("±: sample standard deviation over all runs of a row: distillations")
    assert paths[-1].read_bytes().startswith(b"\x89PNG")


def test_the_score_runs_from_fbank_to_the_teacher(tmp_path: Path) -> None:
    students = [BenchmarkedModel("fbank", "fbank"), BenchmarkedModel("teacher", "x"), BenchmarkedModel("mine", "y")]
    suite = Suite(students, list(TASKS.values()), "small", tmp_path)
    results = {
        "fbank": outcomes(LEADERBOARD.base),
        "teacher": outcomes(LEADERBOARD.top),
        "mine": outcomes(LEADERBOARD.top),
    }
    references = choose_references(results, "fbank", "teacher", "small")
    table = write_report(suite, results, [], references, {})[1].read_text().splitlines()
    assert [line.split("|")[-2].strip(" -") for line in table] == ["score", "", "0", "1000", "1000"]


def test_the_table_names_the_tasks_that_its_score_leaves_out(tmp_path: Path) -> None:
    suite = Suite(
        [BenchmarkedModel("fbank", "fbank"), BenchmarkedModel("teacher", "x")], list(TASKS.values()), "small", tmp_path
    )
    results = {
        "fbank": outcomes(LEADERBOARD.base),
        "teacher": outcomes({**LEADERBOARD.top, "qbe": LEADERBOARD.base["qbe"]}),
    }
    paths = write_report(suite, results, [], choose_references(results, "fbank", "teacher", "small"), {})
    table = paths[1].read_text().splitlines()
    assert table[2].endswith(" 0     |") and table[-1].startswith("score: without QBE, where")
    assert "qbe" not in json.loads(paths[0].read_text())["scored_tasks"]


def test_a_mini_suite_has_a_score_of_its_own_scale_and_says_so(tmp_path: Path) -> None:
    tasks = choose_tasks(["all"], "mini")
    suite = Suite([BenchmarkedModel(name, name) for name in ("fbank", "teacher")], tasks, "mini", tmp_path)
    base, top = ({task.name: values[task.name] for task in tasks} for values in (LEADERBOARD.base, LEADERBOARD.top))
    results = {"fbank": outcomes(base), "teacher": outcomes(top)}
    paths = write_report(suite, results, [], choose_references(results, "fbank", "teacher", "mini"), {})
    table = paths[1].read_text()
    assert [line.split("|")[-2].strip() for line in table.splitlines()[2:4]] == ["0", "1000"]
    assert "a tenth of SUPERB's steps, so that no number is comparable" in table
    assert "score: the mean over PR, SID, ASR, SD; 0 and 1000 are this suite's references." in table
    assert json.loads(paths[0].read_text())["preset"] == "mini"
    assert choose_references({"fbank": results["fbank"]}, "fbank", "teacher", "mini") is None


def test_without_both_references_only_the_official_preset_has_a_score() -> None:
    assert choose_references({"fbank": {}}, "fbank", "teacher", "small") is None
    assert choose_references({"fbank": {}}, "fbank", "teacher", "official") is LEADERBOARD


def test_a_table_is_aligned() -> None:
    assert markdown([["a", "bb"], ["ccc", "d"]]) == "| a   | bb |\n|-----|----|\n| ccc | d  |\n"

"""Several distillations of one student and several seeds of heads: their runs, their names and their row."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from s3prl_gendistiller.cli import main
from s3prl_gendistiller.superb.models import BenchmarkedModel
from s3prl_gendistiller.superb.suite.dry_run import planned_work
from s3prl_gendistiller.superb.suite.report import write_report
from s3prl_gendistiller.superb.suite.results import Outcome
from s3prl_gendistiller.superb.suite.suite import Suite
from s3prl_gendistiller.superb.suite.table import numbers
from s3prl_gendistiller.superb.tasks import TASKS
from tests.superb.standin import Host
from tests.superb.suite.conftest import Superb
from tests.superb.suite.test_results import contents, table


def trained_seeds(host: Host) -> list[str]:
    return sorted(command[command.index("--seed") + 1] for command in host.commands if command[1] == "train")


def test_each_head_is_trained_with_each_seed(superb: Superb, suite: Suite, host: Host) -> None:
    assert superb("--tasks", "ks", "--seeds", "1", "2", "3", names=("a", "a.2")) == 0
    assert trained_seeds(host) == ["1", "1", "2", "2", "3", "3"]
    names = {path.name for path in (suite.out / "runs").iterdir()}
    assert names == {"a", "a.2", "a+seed2", "a+seed3", "a.2+seed2", "a.2+seed3"}
    _, row = table(suite.out)
    assert row[:2] == ["a", "6: 2 distillations x 3 heads"]
    content = json.loads((suite.out / "results.json").read_text())
    assert content["seed"] == 1 and content["students"]["a.2+seed3"]["seed"] == 3
    assert "seed" not in content["students"]["a"]


def test_a_suite_of_one_seed_goes_on_with_several(superb: Superb, suite: Suite, host: Host) -> None:
    assert superb("--tasks", "ks", "--seed", "4") == 0
    before = contents(suite.out / "runs")
    host.commands.clear()
    assert superb("--tasks", "ks", "--seeds", "2", "4") == 0
    assert trained_seeds(host) == ["2"]
    assert before.items() <= contents(suite.out / "runs").items()
    host.commands.clear()
    assert superb("--tasks", "ks", "--seed", "4") == 0 and host.commands == []
    assert table(suite.out)[1][1] == "2 heads"


def test_seeds_that_are_equal_are_named(
    superb: Superb, suite: Suite, host: Host, students: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert superb("--tasks", "ks", "--seeds", "1", "2", "1") == 2
    assert "--seeds: found 1 more than once" in capsys.readouterr().err
    assert superb("--tasks", "ks", names=("a", "a")) == 2
    assert "--student a.2: found the same model as a" in capsys.readouterr().err
    students["a.3"] = students["a.2"]
    assert superb("--tasks", "ks", names=("a", "a.2", "a.3")) == 2
    assert "--student a.3: found the same model as a.2" in capsys.readouterr().err
    assert main(["superb", "--student", "fbank", "--seed", "1", "--seeds", "2"]) == 2
    assert "--seeds: not allowed with argument --seed" in capsys.readouterr().err
    assert host.commands == [] and not suite.out.exists()


def test_one_name_with_several_checkpoints_is_one_student(
    suite: Suite, superb: Superb, students: dict[str, Path], host: Host
) -> None:
    given = ["--student", f"mine={students['a']}", f"mine={students['b']}", "fbank", "--tasks", "ks"]
    assert main(["superb", *given, "--out", str(suite.out)]) == 0
    assert [row[:2] for row in table(suite.out)[1:]] == [["mine", "2 distillations"], ["fbank", "1"]]


def test_a_task_without_a_head_is_evaluated_once_for_each_distillation(suite: Suite) -> None:
    models = [BenchmarkedModel(name, "fbank") for name in ("a", "a+seed2", "a.2", "a.2+seed2")]
    both = Suite(models, [TASKS["qbe"], TASKS["ks"]], "small", suite.out)
    work = planned_work(both, {name: (0,) for name in ("a", "a.2")})
    evaluated = {run.run.model.name for run in work if run.run.task.name == "qbe"}
    assert evaluated == {"a", "a.2"}
    assert {run.run.model.name for run in work if run.run.task.name == "ks"} == {model.name for model in models}
    assert both.sharing(models[0], TASKS["qbe"]) == ["a", "a+seed2"]


def test_a_value_without_a_head_counts_once_also_where_the_first_seed_lacks_it() -> None:
    models = [BenchmarkedModel(name, "fbank") for name in ("a", "a+seed2", "a+seed3")]
    results = {"a": {}, "a+seed2": {"qbe": Outcome({"mtwv": 3.0})}, "a+seed3": {"qbe": Outcome({"mtwv": 3.0})}}
    assert numbers(results, models, TASKS["qbe"], TASKS["qbe"].metrics[0]) == [3.0]


def test_a_repeated_checkpoint_of_an_older_suite_does_not_count(tmp_path: Path) -> None:
    models = [BenchmarkedModel(name, upstream) for name, upstream in (("a_b.1", "x"), ("a_b.2", "x"), ("a_b.3", "y"))]
    suite = Suite(models, [TASKS["ks"]], "small", tmp_path)
    results = {f"a_b.{n}": {"ks": Outcome({"acc": value})} for n, value in ((1, 50.0), (2, 50.0), (3, 60.0))}
    write_report(suite, results, [], None, {})
    assert table(tmp_path)[1] == ["a_b", "2 distillations", "55.00 ± 7.07"]
    said = "a_b.2 is the same model as a_b.1 and does not count"
    assert said in (tmp_path / "table.md").read_text()
    (row,) = csv.DictReader((tmp_path / "table.csv").read_text(encoding="utf-8").splitlines())
    assert (row["student"], row["runs"], row["KS acc % ↑"], row["KS acc % ↑, n"]) == ("a_b", "2", "55.0", "2")
    latex = (tmp_path / "table.tex").read_text()
    assert r"a\_b & 2 distillations & 55.00 $\pm$ 7.07 \\" in latex and r"KS acc \% $\uparrow$" in latex
    write_report(Suite(models[:2], suite.tasks, "small", tmp_path), results, [], None, {})
    assert table(tmp_path)[1] == ["a_b", "1", "50.00"]

"""Suites on a real SLURM of one node, which the tests start; left out where slurm-wlm is not installed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT, run_python
from tests.host.test_checkpoint import save_student
from tests.superb.cluster.one_node_slurm import PARTITION, one_node
from tests.superb.cluster.test_controllers import nothing_was_lost_or_repeated, played, was_stopped_and_went_on
from tests.superb.noise_corpora import write_ten

pytestmark = pytest.mark.slurm
COMMAND = ("-c", "import sys; from s3prl_gendistiller.cli import main; sys.exit(main())", "superb")
SHORT = ",,".join(
    f"config.runner.{key}={steps}" for key, steps in {"total_steps": 4, "eval_step": 2, "save_step": 2}.items()
)


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    with one_node(tmp_path_factory.mktemp("slurm")) as environment:
        yield environment


@pytest.fixture(scope="module")
def scenarios(slurm: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return played("slurm", tmp_path_factory.mktemp("suites"), "few_kills", "stopped", "refused", environment=slurm)


def test_killed_jobs_and_controllers_lose_nothing_and_repeat_nothing(scenarios: dict[str, Any]) -> None:
    assert scenarios["few_kills"]["killed"] == {"job": 3, "controller": 3}
    nothing_was_lost_or_repeated(scenarios["few_kills"])


def test_jobs_of_a_stopped_suite_go_on_and_the_same_command_waits_for_them(scenarios: dict[str, Any]) -> None:
    was_stopped_and_went_on(scenarios["stopped"])


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("partition", "invalid partition specified: nope"),
        ("memory", "--mem=921600000M: allocation failure: Requested node configuration is not available"),
        ("option", "--qos=nope --constraint=none: "),
        ("path", "found no sbatch on PATH"),
    ],
)
def test_what_slurm_refuses_is_named_before_anything_runs(scenarios: dict[str, Any], name: str, text: str) -> None:
    found = scenarios["refused"][name]
    assert found["status"] == 2 and found["said"].count("error: --cluster slurm: ") == 1 and text in found["said"]
    assert scenarios["refused"]["made"]["said"] == ""


def test_a_host_that_does_not_see_the_folder_is_named(tmp_path: Path) -> None:
    with one_node(tmp_path / "slurm", hidden=tmp_path / "suites/unseen/suite") as environment:
        found = played("slurm", tmp_path / "suites", "unseen", environment=environment)["unseen"]
    assert found["status"] == 2 and found["counts"] == []
    assert "its host may not see this folder; give an --out that all hosts share" in found["said"]


def test_a_suite_has_the_results_of_the_local_pool(
    slurm: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two students on two tasks, for real through s3prl."""
    (tmp_path / "ten").mkdir()
    data = write_ten(tmp_path / "ten")
    students = [f"{name}={save_student(tmp_path / name / 'states-3.ckpt', Step=n)}" for n, name in enumerate("ab")]
    command = [*COMMAND, "--student", *students, "--tasks", "ks", "ic", "-o", SHORT]
    found = {}
    for name, hosts in (("local", ["--jobs", "2"]), ("slurm", ["--cluster", "slurm", "--partition", PARTITION])):
        environment = {**slurm, "SUPERB_DATA": str(data), "PYTHONPATH": str(ROOT)}
        answer = run_python(*command, "--out", name, *hosts, cwd=tmp_path, env=environment, timeout=500)
        assert answer.returncode == 0, answer.stdout[-2000:] + answer.stderr[-4000:]
        found[name] = json.loads((tmp_path / name / "results.json").read_text())
    for content in found.values():
        for student in content["students"].values():
            del student["cost"]
            for task in student["tasks"].values():
                del task["seconds"], task["folders"]
    assert found["local"] == found["slurm"]

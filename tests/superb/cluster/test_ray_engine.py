"""Runs on nodes of Ray: every node is compared first, a host that dies loses no step, and a controller none."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from s3prl_gendistiller.cli import main
from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.superb.cluster import probe, ray_connection, ray_engine
from s3prl_gendistiller.superb.cluster.probe import PROBE
from s3prl_gendistiller.superb.cluster.ray_engine import Ray
from s3prl_gendistiller.superb.cluster.ticket import ticket_file
from s3prl_gendistiller.superb.suite.suite import Suite
from tests.conftest import ROOT
from tests.superb.cluster.ray_nodes import Nodes, cluster, kill_group, wait_until
from tests.superb.cluster.ray_runs import engine, log_of, training
from tests.superb.noise_corpora import write_ten

SHORT = ",,".join(
    f"config.runner.{key}={steps}" for key, steps in {"total_steps": 2, "eval_step": 2, "save_step": 2}.items()
)

# a node whose torch is another, and which does not see folders of one name
OTHER_NODE = """
import importlib.metadata, os
version, stat = importlib.metadata.version, os.stat
importlib.metadata.version = lambda name: "0.0.1" if name == "torch" else version(name)
def own(path, *args, **options):
    if "unseen" in str(path):
        raise FileNotFoundError(2, "not here", str(path))
    return stat(path, *args, **options)
os.stat = own
"""


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    """A head without a slot, to which this process is attached, and two nodes with one slot each."""
    with cluster() as made:
        for name in "ab":
            made.start(NODE=name)
        yield made


@pytest.fixture
def connected(nodes: Nodes) -> Iterator[Ray]:
    made = Ray(nodes.address)
    made.require()
    yield made
    made.close()


def begun(target: Any, *arguments: Any) -> tuple[threading.Thread, list[str]]:
    """A call in a thread, and the problem that it raises."""
    problems: list[str] = []

    def call() -> None:
        try:
            target(*arguments)
        except UserError as error:
            problems.append(str(error))

    thread = threading.Thread(target=call)
    thread.start()
    return thread, problems


def said(log: Path) -> list[str]:
    return log.read_text().splitlines() if log.exists() else []


def steps_of(log: Path) -> list[int]:
    return [int(line.partition(" ")[2]) for line in said(log) if line.startswith("step ")]


def test_commands_run_on_the_nodes_and_one_process_of_a_node_serves_many(connected: Ray, tmp_path: Path) -> None:
    assert connected.slots() == 2
    launch = engine(connected, tmp_path, "say")
    log = log_of(tmp_path, 0)
    log.parent.mkdir(parents=True)
    for number in range(4):
        launch([f"command{number}", "-a"], log)
    given = [line.split()[0] for line in said(log) if line.startswith("command")]
    assert given == ["command0", "command1", "command2", "command3"]
    assert len({line for line in said(log) if line.startswith("forked by ")}) <= 2  # one on each node has the imports
    assert log.with_suffix(".err").read_text().startswith("a message")


def test_more_than_a_node_has_is_refused(nodes: Nodes, connected: Ray) -> None:
    with pytest.raises(UserError, match=r"no node has 2 CPU, 0 GPU for a run; found .*: 1 CPU, 0 GPU.*; start nodes"):
        Ray(nodes.address, cpus=2).require()
    with pytest.raises(UserError, match="no node has 1 CPU, 1 GPU"):
        Ray(nodes.address, gpus=1).require()
    assert Ray(nodes.address, memory=2**50).slots() == 0


def test_a_cluster_of_another_version_is_named_with_both_versions(
    nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_connection, "_ASK", f"import ray; ray.__version__ = '2.0.0'\n{ray_connection._ASK}")
    with pytest.raises(UserError, match=r"Ray: 2\.\d\d.* Python: 3.* started with: Ray: 2\.0\.0"):
        Ray(nodes.address).require()


def test_a_suite_gives_the_results_of_the_local_pool(
    nodes: Nodes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SUPERB_DATA", str(write_ten(tmp_path / "ten")))
    command = ["superb", "--student", "fbank", "--tasks", "ks", "-o", SHORT]
    assert main([*command, "--out", str(tmp_path / "local"), "--jobs", "2"]) == 0
    assert main([*command, "--out", str(tmp_path / "ray"), "--cluster", "ray", "--ray-address", nodes.address]) == 0
    found = [json.loads((tmp_path / name / "results.json").read_text()) for name in ("local", "ray")]
    assert all(student["tasks"]["ks"]["values"] for student in found[1]["students"].values())
    assert without_times(found[0]) == without_times(found[1])
    assert "(raylet)" not in "".join(capsys.readouterr())
    assert not list((tmp_path / "ray").rglob("*.job.json"))


def without_times(content: Any) -> Any:
    """Results without what differs from run to run."""
    if not isinstance(content, dict):
        return content
    return {key: without_times(value) for key, value in content.items() if key not in ("seconds", "folders", "cost")}


def test_a_node_that_lacks_the_folder_or_has_other_versions_is_named_before_the_first_run(
    nodes: Nodes, connected: Ray, suite: Suite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe, "SEEN_WITHIN_S", 0.5)
    connected.prepare(suite)
    assert (suite.out / PROBE).exists()
    (tmp_path / "sitecustomize.py").write_text(OTHER_NODE)
    other = nodes.start(PYTHONPATH=os.pathsep.join([str(tmp_path), str(ROOT)]))
    wait_until(lambda: connected.slots() == 3)
    try:
        with pytest.raises(UserError) as found:
            connected.prepare(replace(suite, out=tmp_path / "out2"))
        with pytest.raises(UserError) as unseen:
            connected.prepare(replace(suite, out=tmp_path / "unseen"))
    finally:
        kill_group(other)
    lines = str(found.value).splitlines()
    assert lines[0].endswith("none was started:") and len(lines) == 2
    assert "Ray's node " in lines[1] and "torch: found 0.0.1, expected " in lines[1]
    assert f"--out {tmp_path / 'unseen'}: found no such folder, expected the folder" in str(unseen.value)
    assert not list((tmp_path / "unseen").iterdir())  # nothing of a refused command stays
    wait_until(lambda: connected.slots() == 2)


def test_a_killed_controller_doubles_nothing_and_its_next_repeats_nothing(nodes: Nodes, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.superb.cluster.ray_runs", nodes.address, str(tmp_path), "2", "25"]
    short, long = log_of(tmp_path, 0), log_of(tmp_path, 1)
    given = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, env=given, cwd=ROOT) as controller:
        wait_until(lambda: len(steps_of(long)) >= 3 and "trained" in said(short))
        controller.send_signal(signal.SIGKILL)
    again = subprocess.run(command, env=given, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    assert again.stdout == "done\n" and "it ended with the process that started it" in again.stderr
    assert steps_of(short) == [1, 2] and said(short).count("trained") == 1
    assert steps_of(long) == list(range(1, 26)) and said(long).count("trained") == 1


def test_a_stopped_suite_ends_its_tasks(connected: Ray, tmp_path: Path) -> None:
    log = log_of(tmp_path, 0)
    launch = engine(connected, tmp_path, "train")
    thread, problems = begun(training, launch, tmp_path, 0, 1000)
    wait_until(lambda: len(steps_of(log)) >= 2)
    assert len(launch.in_flight()) == 1 and connected.cancelling(launch.in_flight()) == ""
    launch.stop()
    connected.close()
    thread.join(20)
    assert problems == ["was ended, because the suite was stopped"] and not ticket_file(log).exists()
    time.sleep(0.5)
    before = steps_of(log)
    time.sleep(0.6)
    assert steps_of(log) == before


def test_a_run_whose_node_dies_goes_on_from_its_checkpoint_on_the_other(
    nodes: Nodes, connected: Ray, tmp_path: Path
) -> None:
    log = log_of(tmp_path, 0)
    thread, problems = begun(training, engine(connected, tmp_path, "train"), tmp_path, 0, 20)
    wait_until(lambda: len(steps_of(log)) >= 3)
    first = said(log)[1].removeprefix("on ")
    nodes.kill_raylet(nodes.named[first])
    thread.join(60)
    assert not thread.is_alive() and problems == []
    assert steps_of(log) == list(range(1, 21))
    assert [line for line in said(log) if line.startswith("on ")] == [f"on {first}", f"on {'ab'.replace(first, '')}"]


def test_a_head_that_is_lost_ends_the_waiting_with_one_message(
    nodes: Nodes, suite: Suite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last test here, since it kills the head."""
    monkeypatch.setattr(ray_engine, "HEARTBEAT_S", 0.2)
    monkeypatch.setattr(ray_engine, "LOST_S", 1.0)
    made = Ray(nodes.address)
    made.require()
    wait_until(lambda: made.slots() == 1)  # the node of the test before
    made.prepare(suite)
    thread, problems = begun(training, engine(made, tmp_path, "train"), tmp_path, 0, 1000)
    wait_until(lambda: len(steps_of(log_of(tmp_path, 0))) >= 2)
    nodes.kill_head()
    thread.join(30)
    made.close()
    assert problems == [
        "Ray's head, or the Ray of this host, has not answered for 1 s; start Ray again, then repeat the same command"
    ]
    assert ticket_file(log_of(tmp_path, 0)).exists()

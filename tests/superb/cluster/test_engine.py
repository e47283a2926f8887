"""The controller of jobs: what it repeats, what it waits for, and what a new controller finds."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.superb.cluster import engine as module
from s3prl_gendistiller.superb.cluster.engine import ClusterEngine, require_no_jobs, retire
from s3prl_gendistiller.superb.cluster.ticket import ending_file, new_ticket, read_ticket, ticket_file, write_ticket
from tests.superb.cluster.spawning import Spawning, engine, wait_until


@pytest.fixture
def cluster() -> Iterator[Spawning]:
    made = Spawning()
    yield made
    made.end()


@pytest.fixture
def log(tmp_path: Path) -> Path:
    folder = tmp_path / "runs/mine/ks"
    folder.mkdir(parents=True)
    return folder / "superb_train.log"


def begun(launch: ClusterEngine, arguments: list[str], log: Path) -> tuple[threading.Thread, list[str]]:
    """A call in a thread, as `run_suite` makes it, and the problems that it raises."""
    problems: list[str] = []

    def call() -> None:
        try:
            launch(arguments, log)
        except UserError as error:
            problems.append(str(error))

    thread = threading.Thread(target=call)
    thread.start()
    return thread, problems


def left_in_flight(cluster: Spawning, log: Path) -> Path:
    """A controller begins a job and is stopped; the job ends with the file that is returned."""
    end = log.parent / "end"
    first = engine(cluster, log.parent, "wait_for_a_file")
    thread, _ = begun(first, ["-a", str(end)], log)
    wait_until(lambda: log.exists() and "began" in log.read_text())
    first.stop()
    thread.join(10)
    return end


def test_a_command_runs_with_the_flags_of_the_engine_and_leaves_no_files_of_its_job(
    cluster: Spawning, log: Path
) -> None:
    launch = engine(cluster, log.parent, "say", ["--device", "cpu"])
    launch(["-m", "train", "-a"], log)
    assert "\n-m train -a --device cpu " in log.read_text() and ticket_file(log).exists()
    launch.stop()
    retire(log.parents[3], "runs")
    assert sorted(path.name for path in log.parent.glob("superb_train*")) == ["superb_train.err", "superb_train.log"]


def test_a_failed_command_is_named_and_the_next_suite_tries_it_again(cluster: Spawning, log: Path) -> None:
    for _ in range(2):
        with pytest.raises(UserError, match="ended with status 2: error: -k: nothing there"):
            engine(cluster, log.parent, "fail")(["-a"], log)
    assert len(cluster.jobs) == 2


def test_a_killed_job_is_repeated_as_long_as_it_reaches_new_checkpoints(
    cluster: Spawning, log: Path, caplog: pytest.LogCaptureFixture
) -> None:
    steps = module.REPEATS + 3
    caplog.set_level(logging.WARNING)
    engine(cluster, log.parent, "be_killed_after_a_step")([str(log.parent), str(steps), "-a"], log)
    assert len(cluster.jobs) == steps == len(list(log.parent.glob("states-*.ckpt")))
    assert caplog.text.count("ended without a result (killed by signal 9 on ") == steps - 1


def test_a_job_that_reaches_no_checkpoint_is_given_up_with_one_message(cluster: Spawning, log: Path) -> None:
    launch = engine(cluster, log.parent, "be_killed")
    wanted = (
        r"job \d+ ended without a result \(killed by signal 9 on \S+\), 3 repeats reached no new checkpoint; "
        r"the run's messages: \S+superb_train\.err; give more memory"
    )
    with pytest.raises(UserError, match=wanted):
        launch(["-a"], log)
    assert len(cluster.jobs) == module.REPEATS + 1 and read_ticket(log) is None  # the next suite counts anew


def test_a_job_that_vanished_is_repeated_from_its_checkpoint(cluster: Spawning, log: Path) -> None:
    thread, problems = begun(engine(cluster, log.parent, "train"), [str(log.parent), "4", "0.3", "-a"], log)
    wait_until(lambda: (log.parent / "states-2.ckpt").exists())
    (job,) = cluster.jobs.values()
    job.kill()
    thread.join(60)
    printed = log.read_text()
    assert problems == [] and printed.count("step 1\n") == printed.count("step 2\n") == 1
    assert "begins after 2\n" in printed and printed.count("trained") == 1


def test_a_new_controller_waits_for_the_job_in_flight(cluster: Spawning, log: Path) -> None:
    arguments = [str(log.parent), "4", "0.3", "-a"]
    first = engine(cluster, log.parent, "train")
    thread, problems = begun(first, arguments, log)
    wait_until(lambda: (log.parent / "states-1.ckpt").exists())
    (number,) = cluster.jobs
    assert first.in_flight() == [number]
    first.stop()
    thread.join(10)
    assert problems == [f"goes on as job {number}"]
    retire(log.parents[3], "runs")  # a job in flight keeps its ticket
    engine(cluster, log.parent, "train")(arguments, log)
    assert len(cluster.jobs) == 1 and log.read_text().count("$ run_downstream.py") == 1


def test_a_new_controller_takes_the_result_of_a_job_that_ended_meanwhile(cluster: Spawning, log: Path) -> None:
    engine(cluster, log.parent, "say")(["-m", "evaluate"], log)
    before = log.stat().st_mtime_ns
    engine(cluster, log.parent, "say")(["-m", "evaluate"], log)
    assert len(cluster.jobs) == 1 and log.stat().st_mtime_ns == before
    engine(cluster, log.parent, "say")(["-m", "evaluate", "-e", "another"], log)
    assert len(cluster.jobs) == 2


def test_a_job_with_other_arguments_is_waited_for(cluster: Spawning, log: Path) -> None:
    end = left_in_flight(cluster, log)
    thread, problems = begun(engine(cluster, log.parent, "say"), ["-a", "others"], log)
    thread.join(0.5)
    assert thread.is_alive() and len(cluster.jobs) == 1
    end.touch()
    thread.join(60)
    assert problems == [] and len(cluster.jobs) == 2 and "\n-a others " in log.read_text()


def test_a_controller_that_died_between_ticket_and_submission_doubles_nothing(cluster: Spawning, log: Path) -> None:
    """The job may have been submitted, although the ticket does not name it."""
    end = left_in_flight(cluster, log)
    ticket = read_ticket(log)
    assert ticket is not None
    write_ticket(log, replace(ticket, job=""))
    thread, problems = begun(engine(cluster, log.parent, "wait_for_a_file"), ["-a", str(end)], log)
    wait_until(lambda: len(cluster.jobs) == 2)
    end.touch()
    thread.join(60)
    for job in cluster.jobs.values():
        job.join(60)
    assert problems == [] and log.read_text().count("began") == 1


def test_an_ending_counts_although_the_cluster_does_not_answer(cluster: Spawning, log: Path) -> None:
    cluster.silent = True
    engine(cluster, log.parent, "say")(["-a"], log)
    assert "$ run_downstream.py -a" in log.read_text()


def test_a_stopped_engine_starts_nothing(cluster: Spawning, log: Path) -> None:
    launch = engine(cluster, log.parent, "say")
    launch.stop()
    with pytest.raises(UserError, match="was not started, because the suite was stopped"):
        launch(["-a"], log)
    assert not cluster.jobs and not ticket_file(log).exists()


def test_a_job_of_another_engine_is_named_before_anything_runs(cluster: Spawning, log: Path) -> None:
    ticket = write_ticket(log, replace(new_ticket(["-a"], "ray"), job="7"))
    wanted = r"superb_train\.job\.json: job 7 of --cluster ray has no ending; go on with --cluster ray, or cancel"
    out = log.parents[3]
    for refused in (lambda: engine(cluster, log.parent, "say")(["-a"], log), lambda: require_no_jobs(out, "runs")):
        with pytest.raises(UserError, match=wanted):
            refused()
    assert read_ticket(log) == ticket
    ticket_file(log).unlink()
    engine(cluster, log.parent, "say")(["-a"], log)
    assert ending_file(log).exists()
    require_no_jobs(out, "runs")

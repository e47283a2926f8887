"""Both launchers through the real host: distil, resume after a kill, evaluate."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from s3prl_gendistiller import load_student
from s3prl_gendistiller.distill.metrics import read_metrics
from s3prl_gendistiller.host.checkpoint import newest_checkpoint, read_checkpoint, stored_step
from tests.bench import Bench
from tests.conftest import ROOT, run_python

PRETRAIN, DOWNSTREAM = ROOT / "run_pretrain.py", ROOT / "run_downstream.py"
SHORT_ASR = (
    "config.runner.total_steps=4,,config.runner.eval_step=4,,config.runner.save_step=2,,config.runner.log_step=2"
)


def succeed(answer: subprocess.CompletedProcess[str]) -> subprocess.CompletedProcess[str]:
    assert answer.returncode == 0, answer.stdout[-2000:] + answer.stderr[-4000:]
    return answer


@pytest.fixture(scope="module", params=["gendistiller", "distilhubert"])
def trained(request: pytest.FixtureRequest, bench: Bench, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """A run started from a foreign folder with the shortest command that a tiny recipe allows."""
    task, folder = request.param, tmp_path_factory.mktemp(request.param)
    files = ("-g", bench.model(folder, task), "-c", bench.runner(folder, task))
    answer = succeed(run_python(PRETRAIN, "-u", task, *files, cwd=folder, env=bench.environment))
    assert f"filled in: --device cpu (no GPU found), -n {task}" in answer.stderr
    return task, folder


def test_a_run_leaves_checkpoints_metrics_and_its_record(trained: tuple[str, Path]) -> None:
    task, folder = trained
    run = folder / "result/pretrain" / task
    newest = newest_checkpoint(run)
    assert newest is not None and read_checkpoint(newest)["Step"] == 6
    assert list(read_metrics(run, "train")) == [2, 4, 6]
    valid = read_metrics(run, "valid")
    assert list(valid) == [2, 4, 6]
    assert {"loss", "l1_layer1", "cosine_layer3"} <= valid[6].keys()
    record = json.loads((run / "run.json").read_text())[0]
    assert record["packages"]["s3prl"] and record["seed"] == 1337 and "-u" in record["command"]
    assert not load_student(newest).training


def test_the_student_evaluates_on_asr(trained: tuple[str, Path], bench: Bench) -> None:
    task, folder = trained
    upstream = {"gendistiller": "gendistiller_local", "distilhubert": "distiller_local"}[task]
    small = ("-c", "downstream_runs/asr/small.yaml", "-o", SHORT_ASR)
    if task == "gendistiller":
        small += ("--steps", "1")
    answer = succeed(run_python(DOWNSTREAM, "-u", upstream, "-d", "asr", *small, cwd=folder, env=bench.environment))
    assert f"-n {upstream}_asr" in answer.stderr and "-m train" in answer.stderr
    assert f"-k result/pretrain/{task}/states-" in answer.stderr
    run = folder / f"result/downstream/{upstream}_asr"
    assert "dev-clean wer:" in answer.stdout and (run / "states-4.ckpt").is_file()
    states = {"gendistiller": 2, "distilhubert": 5}[task]  # z and the first layer; frames, two layers, two predictions
    assert read_checkpoint(run / "states-4.ckpt")["Featurizer"]["weights"].shape == (states,)
    again = run_python(DOWNSTREAM, "-m", "evaluate", "-t", "test-clean", "-e", run, cwd=folder, env=bench.environment)
    assert "test-clean wer:" in succeed(again).stdout
    assert (run / "test-clean-noLM-hyp.ark").is_file()


def test_a_second_run_gets_a_name_of_its_own_and_a_given_name_is_protected(
    bench: Bench, trained: tuple[str, Path]
) -> None:
    task, folder = trained
    files = ("-g", folder / f"{task}_model.yaml", "-c", folder / f"{task}_runner.yaml")
    refused = run_python(PRETRAIN, "-u", task, "-n", task, *files, cwd=folder, env=bench.environment)
    assert refused.returncode == 2 and "holds 2 checkpoints of an earlier run" in refused.stderr
    assert "Add -a to go on with it" in refused.stderr and "Traceback" not in refused.stderr


def test_a_run_that_was_moved_can_be_made_longer_where_it_lies(
    bench: Bench, trained: tuple[str, Path], tmp_path: Path
) -> None:
    """s3prl itself forgets ``-o`` when it resumes: the folder and the steps of the beginning would come back."""
    task, folder = trained
    run = shutil.copytree(folder / f"result/pretrain/{task}", tmp_path / "moved")
    answer = run_python(PRETRAIN, "-e", run, "-o", "config.runner.total_steps=8", cwd=tmp_path, env=bench.environment)
    succeed(answer)
    assert stored_step(newest_checkpoint(run)) == 8
    key = {"gendistiller": "GenDistiller", "distilhubert": "Distiller"}[task]
    before, after = (
        read_checkpoint(newest_checkpoint(path))[key] for path in (folder / f"result/pretrain/{task}", run)
    )
    assert any(not torch.equal(value, after[name]) for name, value in before.items())  # the schedule ends at 8, not 6
    assert stored_step(newest_checkpoint(folder / f"result/pretrain/{task}")) == 6


def test_a_killed_run_ends_with_the_weights_of_an_unbroken_one(bench: Bench, tmp_path: Path) -> None:
    steps = {"total_steps": 60, "save_step": 10, "max_keep": 9}
    data = {"valid_step": 25}
    files = ("-g", bench.model(tmp_path), "-c", bench.runner(tmp_path, datarc=data, **steps))
    succeed(run_python(PRETRAIN, "-u", "gendistiller", "-n", "whole", *files, cwd=tmp_path, env=bench.environment))

    command = [sys.executable, PRETRAIN, "-u", "gendistiller", "-n", "broken", *files]
    environment = {**os.environ, **bench.environment, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    run = tmp_path / "result/pretrain/broken"
    process = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=-3, stderr=-3)
    try:
        deadline = time.monotonic() + 120
        while not (run / "states-20.ckpt").is_file() and time.monotonic() < deadline:
            assert process.poll() is None, "the run ended before it could be killed"
            time.sleep(0.002)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert not (run / "states-60.ckpt").exists()
    half = run / "states-59.ckpt"  # as after a kill in the middle of the next save
    half.write_bytes((run / "states-10.ckpt").read_bytes()[:5000])

    again = succeed(
        run_python(PRETRAIN, "-u", "gendistiller", "-n", "broken", *files, "-a", cwd=tmp_path, env=bench.environment)
    )
    assert "skipped" in again.stderr and "states-59.ckpt" in again.stderr
    expected, found = (read_checkpoint(newest_checkpoint(path)) for path in (run.parent / "whole", run))
    assert expected["Step"] == found["Step"] == 60
    for name, value in expected["GenDistiller"].items():
        assert torch.equal(value, found["GenDistiller"][name]), name
    whole, broken = (read_metrics(path, "train")[60]["loss"] for path in (run.parent / "whole", run))
    assert whole == broken


def test_help_is_the_hosts_own(tmp_path: Path) -> None:
    answer = succeed(run_python(PRETRAIN, "--help", cwd=tmp_path))
    assert "gendistiller" in answer.stdout and "distilhubert" in answer.stdout and "--auto_resume" in answer.stdout
    answer = succeed(run_python(DOWNSTREAM, "--help", cwd=tmp_path))
    assert "gendistiller_local" in answer.stdout and "--upstream_feature_selection" in answer.stdout


def test_a_malicious_checkpoint_runs_nothing_in_any_flag(tmp_path: Path, bench: Bench) -> None:
    from tests.host.test_checkpoint import Bomb

    target = tmp_path / "ran"
    torch.save({"Args": Bomb(target)}, tmp_path / "evil.ckpt")
    for script, flags in (
        (PRETRAIN, ("-e", "evil.ckpt")),
        (DOWNSTREAM, ("-m", "evaluate", "-e", "evil.ckpt")),
        (DOWNSTREAM, ("-u", "gendistiller_local", "-d", "asr", "-k", "evil.ckpt")),
        (DOWNSTREAM, ("-u", "distiller_local", "-d", "asr", "-k", "evil.ckpt")),
    ):
        answer = run_python(script, *flags, cwd=tmp_path, env=bench.environment)
        assert answer.returncode == 2 and "refused, loading it would call" in answer.stderr, answer.stderr[-2000:]
        assert "Traceback" not in answer.stderr
    assert not target.exists()


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        ("missing", "rows that point nowhere|not there|no such file"),
        ("nan", "NaN|not finite|finite"),
    ],
)
def test_bad_audio_stops_the_run_by_name_and_leaves_nothing(
    damage: str, expected: str, bench: Bench, tmp_path: Path
) -> None:
    import re
    import shutil

    import numpy as np
    import soundfile

    data = tmp_path / "data"
    shutil.copytree(bench.data, data)
    victim = data / "LibriSpeech/train-clean-100/1/7/1-7-0003.flac"
    if damage == "missing":
        victim.unlink()
    else:
        length = soundfile.info(victim).frames
        soundfile.write(victim.with_suffix(".wav"), np.full(length, np.nan), 16_000, subtype="FLOAT")
        victim.with_suffix(".wav").rename(victim)
    files = ("-g", bench.model(tmp_path), "-c", bench.runner(tmp_path))
    env = {"SUPERB_DATA": str(data)}
    answer = run_python(PRETRAIN, "-u", "gendistiller", "-n", "x", *files, cwd=tmp_path, env=env)
    assert answer.returncode == 2, answer.stderr[-3000:]
    assert "1-7-0003.flac" in answer.stderr and re.search(expected, answer.stderr), answer.stderr
    assert "Traceback" not in answer.stderr and not (tmp_path / "result/pretrain/x").exists()
    skip = "config.pretrain_expert.datarc.skip_bad=True"
    succeed(run_python(PRETRAIN, "-u", "gendistiller", "-n", "x", *files, "-o", skip, cwd=tmp_path, env=env))

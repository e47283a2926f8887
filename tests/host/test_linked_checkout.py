"""s3prl's own scripts, in a checkout that `gendistiller link` has linked, with the literal commands of the README."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from s3prl_gendistiller.host.checkpoint import newest_checkpoint, stored_step
from s3prl_gendistiller.host.link import link, unlink
from s3prl_gendistiller.host.locate import find_host
from tests.bench import Bench
from tests.conftest import run_python
from tests.host.test_launchers import SHORT_ASR, succeed


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The installed s3prl laid out like a git checkout; returns its package folder."""
    root = tmp_path_factory.mktemp("checkout")
    shutil.copytree(find_host().package, root / "s3prl", ignore=shutil.ignore_patterns("__pycache__"))
    (root / "setup.py").write_text("# the checkout's own\n")
    link(root)
    return root / "s3prl"


def test_the_hosts_own_script_trains_and_a_student_evaluates(checkout: Path, bench: Bench, tmp_path: Path) -> None:
    files = ("-g", bench.model(tmp_path), "-c", bench.standalone_runner(tmp_path))
    env = bench.environment
    plain = ("run_pretrain.py", "-u", "gendistiller", "-n", "plain", "--device", "cpu", *files)
    succeed(run_python(*plain, cwd=checkout, env=env))
    assert (checkout / "result/pretrain/plain/states-3.ckpt").is_file()

    helped = ("-m", "s3prl_gendistiller", "run_pretrain.py", "-u", "gendistiller", *files)
    assert (
        "filled in: --device cpu (no GPU found), -n gendistiller"
        in succeed(run_python(*helped, cwd=checkout, env=env)).stderr
    )
    assert (checkout / "result/pretrain/gendistiller/states-3.ckpt").is_file()

    ruined = succeeds_not(run_python(*plain, "-n", "ruined", "-o", "config.optimizer.lr=1e30", cwd=checkout, env=env))
    assert "not finite" in ruined and "config.optimizer.lr" in ruined  # also without the launcher of this package
    longer = (*helped, "-n", "gendistiller", "-a", "-o", "config.runner.total_steps=9")
    succeed(run_python(*longer, cwd=checkout, env=env))
    assert stored_step(newest_checkpoint(checkout / "result/pretrain/gendistiller")) == 9

    small = ("-c", "downstream_runs/asr/small.yaml", "-o", SHORT_ASR)
    evaluated = run_python(
        *("-m", "s3prl_gendistiller", "run_downstream.py", "-u", "gendistiller_local", "-d", "asr", *small),
        cwd=checkout,
        env=env,
    )
    assert "dev-clean wer:" in succeed(evaluated).stdout
    assert "-k result/pretrain/gendistiller/states-" in evaluated.stderr


def succeeds_not(answer: subprocess.CompletedProcess[str]) -> str:
    assert answer.returncode, answer.stderr[-2000:]
    return answer.stderr


def test_a_mistake_in_a_helped_script_is_one_message(checkout: Path) -> None:
    answer = run_python("-m", "s3prl_gendistiller", "run_pretrain.py", "-u", "gendistille", cwd=checkout)
    assert answer.returncode == 2 and "-u: found gendistille, expected one of" in answer.stderr
    assert "Traceback" not in answer.stderr
    answer = run_python("-m", "s3prl_gendistiller", "run_nothing.py", cwd=checkout)
    assert answer.returncode == 2 and "no such script" in answer.stderr


def test_unlinked_the_task_is_gone(checkout: Path) -> None:
    unlink(checkout.parent)
    answer = run_python("run_pretrain.py", "-u", "gendistiller", "-n", "x", cwd=checkout)
    assert answer.returncode == 2 and "invalid choice: 'gendistiller'" in answer.stderr

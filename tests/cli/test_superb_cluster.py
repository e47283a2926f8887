"""The flags of clusters of `gendistiller superb`."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from s3prl_gendistiller.cli import parser, superb_cluster
from s3prl_gendistiller.cli.superb import _forecast
from s3prl_gendistiller.cli.superb_cluster import check_cluster_flags, described, order_of_a_run
from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.superb.models import BenchmarkedModel
from s3prl_gendistiller.superb.suite.suite import Suite
from s3prl_gendistiller.superb.tasks import TASKS


def parsed(*flags: str) -> argparse.Namespace:
    return parser().parse_args(["superb", "--student", "fbank", *flags])


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--max-jobs 3", "--max-jobs: found with --cluster local, expected --cluster slurm"),
        ("--ray-address head:6379", "--ray-address: found with --cluster local, expected --cluster ray; leave it out"),
        ("--cluster ray --partition gpu", "--partition: found with --cluster ray, expected --cluster slurm; leave it"),
        ("--cluster ray --hours-per-run 2", "--hours-per-run: found with --cluster ray, expected --cluster slurm"),
        ("--cluster ray --jobs 2", "--jobs: found with --cluster ray; give --max-jobs in its place"),
        ("--cluster ray --memory-per-run much", "--memory-per-run: found 'much', expected a size such as"),
        ("--partition gpu", "--partition: found with --cluster local, expected --cluster slurm; leave it out"),
        ("--slurm qos=low", "--slurm: found with --cluster local, expected --cluster slurm; leave it out"),
        ("--cluster slurm --jobs 2", "--jobs: found with --cluster slurm; give --max-jobs in its place"),
        ("--cluster slurm --devices cuda:0", "--devices: found with --cluster slurm; give --gpus-per-run in its place"),
        ("--cluster slurm --memory-per-run much", "--memory-per-run: found 'much', expected a size such as"),
        ("--cluster slurm --slurm time=3", "--slurm time=3: give --hours-per-run in its place"),
        ("--cluster slurm --slurm --gpus=2", "--gpus=2: give --gpus-per-run in its place"),
        ("--cluster slurm --slurm array=1-3", "--slurm array=1-3: the command sets array itself; leave it out"),
        ("--cluster slurm --slurm =low", "--slurm =low: expected KEY=VALUE of sbatch, such as account=lab"),
    ],
)
def test_a_flag_that_does_not_fit_the_cluster_is_refused(flags: str, message: str) -> None:
    words = [word for word in flags.replace("--slurm --", "--slurm=--").split()]
    with pytest.raises(UserError) as refusal:
        check_cluster_flags(parsed(*words))
    assert message in str(refusal.value)


def test_without_a_cluster_nothing_changes() -> None:
    args = parsed("--jobs", "2", "--devices", "cpu")
    check_cluster_flags(args)
    assert superb_cluster.at_a_time(args) is superb_cluster.speed_of_run(args) is None and described(args) == []


def test_a_dry_run_says_what_would_be_submitted() -> None:
    flags = ["--partition", "gpu", "--gpus-per-run", "1", "--hours-per-run", "2.5", "--slurm", "account=lab"]
    args = parsed("--cluster", "slurm", *flags, "exclusive")
    check_cluster_flags(args)
    options = "--cpus-per-task=4 --mem=16384M --gpus-per-node=1 --partition=gpu --time=150 --account=lab --exclusive"
    (line,) = described(args)
    assert line.startswith("--cluster slurm, 8 at a time: ") and line.endswith(f": sbatch {options}")


def test_a_dry_run_of_ray_starts_and_asks_nothing() -> None:
    (line,) = described(parsed("--cluster", "ray", "--ray-address", "head:6379", "--gpus-per-run", "1"))
    assert line == "--cluster ray, 8 at a time: each run a task of Ray (head:6379): 4 CPU, 1 GPU"
    assert (
        "(head of RAY_ADDRESS or of this host): 1 CPU, 0 GPU, 2 GB"
        in described(parsed("--cluster", "ray", "--memory-per-run", "2G", "--max-jobs", "3"))[0]
    )


def test_without_gpus_a_run_has_one_core_and_little_memory() -> None:
    assert "sbatch --cpus-per-task=1 --mem=4096M" in described(parsed("--cluster", "slurm"))[0]
    more = ("--cpus-per-run", "3", "--memory-per-run", "12.5G")
    assert "sbatch --cpus-per-task=3 --mem=12800M" in described(parsed("--cluster", "slurm", *more))[0]


def test_the_plan_counts_the_jobs_and_what_each_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    suite = Suite([BenchmarkedModel("fbank", "fbank")], [TASKS["ks"]], "small", tmp_path)
    found = []
    for flags in (("--cpus-per-run", "2"), ("--gpus-per-run", "1"), ("--gpus-per-run", "1", "--tflops", "40")):
        forecast = _forecast(parsed("--cluster", "slurm", "--max-jobs", "5", *flags), suite, [], False)
        found.append((forecast.at_a_time, "\n".join(forecast.table())))
    assert [jobs for jobs, _ in found] == [5, 5, 5]
    texts = [text for _, text in found]
    assert "0.1 TFLOP/s for each run, on this CPU" in texts[0] and "16 TFLOP/s for each run, on a GPU" in texts[1]
    assert "40 TFLOP/s for each run, on a GPU" in texts[2] and "This machine has no GPU" not in texts[1]


def test_an_order_takes_the_surroundings_of_the_controller_along(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUPERB_DATA", "/data")
    monkeypatch.delenv("GENDISTILLER_VERBOSE", raising=False)
    order = order_of_a_run(parsed("--cluster", "slurm", "--gpus-per-run", "1"))
    assert order.environment == (("SUPERB_DATA", "/data"),) and order.gpu and order.threads == 4
    assert order.main == "s3prl_gendistiller.cli.downstream:main" and order.folder == str(Path.cwd())

"""`gendistiller superb`: SUPERB's tasks for a list of models, as runs of run_downstream.py, and one table."""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import shlex
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from s3prl_gendistiller.cli import arguments, superb_cluster
from s3prl_gendistiller.cli.superb_compare import compare
from s3prl_gendistiller.cli.superb_flags import EXAMPLE, add_flags, read_suite
from s3prl_gendistiller.corpora.catalogue import check_corpora, is_synthetic
from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.host.devices import check_device
from s3prl_gendistiller.host.layers import Features, count_hidden_states
from s3prl_gendistiller.host.paths import VARIABLE
from s3prl_gendistiller.superb.cost import multiply_adds
from s3prl_gendistiller.superb.models import one_per_distillation
from s3prl_gendistiller.superb.suite import benchmark, cache_size, processes, record, results
from s3prl_gendistiller.superb.suite.display import Display
from s3prl_gendistiller.superb.suite.dry_run import Work, planned_work
from s3prl_gendistiller.superb.suite.forecast import Forecast
from s3prl_gendistiller.superb.suite.report import choose_references, write_report
from s3prl_gendistiller.superb.suite.suite import Layers, Suite
from s3prl_gendistiller.superb.tasks import PUBLISHED_CORPORA

LISTED = 10
logger = logging.getLogger(__name__)


def add_parser(subparsers: Any) -> None:
    about = "run SUPERB's tasks for students and tabulate their scores"
    description = "Train and evaluate SUPERB's tasks with run_downstream.py, and tabulate s3prl's own metrics."
    way_on = "the same command continues the suite and repeats no finished run"
    add_flags(arguments.add_command(subparsers, "superb", run, about, description, EXAMPLE, way_on))


def run(args: argparse.Namespace) -> int:
    if args.compare:
        return compare(args)
    suite, kept = cache_size.kept_features(read_suite(args))
    suite = replace(suite, synthetic=is_synthetic(os.environ[VARIABLE])) if VARIABLE in os.environ else suite
    layers = _layers(suite)
    if args.dry_run:
        print("\n".join([*_plan_lines(args, suite, layers, kept), ""]), end="", flush=True)
        return 0
    for device in args.devices:
        check_device(device, "--devices")
    results.require_same_settings(suite)
    record.require_own_folders(suite)
    superb_cluster.require_cluster(args)
    forecast = _forecast(args, suite, planned_work(suite, layers, begun=True), None)
    if suite.cache is not None:
        seconds = cache_size.cached_seconds(suite)
        cache_size.require_room(suite, suite.cache, kept, seconds)
        logger.info("%s", cache_size.describe(suite, suite.cache, kept, seconds))
    if suite.preset in PUBLISHED_CORPORA:
        print("\n".join(f"# {line}" for line in [*forecast.table(), *forecast.paths()]), flush=True)
    forecast.require_room()
    if forecast.plan:
        logger.info("%s", forecast.line())
    try:
        _run(args, suite, layers, forecast)
    except KeyboardInterrupt as stop:
        text = "stopped; finished parts are kept, and the same command continues the suite"
        print(f"{text}; {stop}" if str(stop) else text, file=sys.stderr)
        return 130
    return 0


def _run(args: argparse.Namespace, suite: Suite, layers: Layers, forecast: Forecast) -> None:
    """Runs the suite and writes all results, also when some of the runs failed."""
    jobs = forecast.at_a_time
    devices = [args.devices[slot % len(args.devices)] for slot in range(jobs)] if args.devices else []
    with _ended_by_signal(), superb_cluster.launching(args, suite, jobs, devices) as launch:
        display = Display(forecast.remaining())
        with display.shown():
            found, failures = benchmark.run_suite(suite, launch, layers, jobs, display.watching)
        if any(found.values()):  # without any, the files of earlier commands stay as they are
            measured = multiply_adds.measure(one_per_distillation(suite.models))
            costs = {model.name: measured[one.name] for model, one in suite.checkpoints()}
            whole, all_results, all_costs = results.merged(suite, found, costs)
            score = choose_references(all_results, args.score_from, args.score_to, suite.preset)
            paths = write_report(whole, all_results, failures, score, all_costs)
            print(paths[1].read_text(encoding="utf-8"))
            print(", ".join(map(str, paths)))
    if failures:
        expected = len(suite.models) * len(suite.tasks)
        lines = [*failures, *_damaged_speech()]
        raise UserError(
            f"{expected - sum(map(len, found.values()))} of {expected} have no result; finished parts are kept, "
            "and the same command continues the suite:\n  " + "\n  ".join(lines)
        )


def _plan_lines(args: argparse.Namespace, suite: Suite, layers: Layers, kept: Mapping[str, Features]) -> Iterator[str]:
    """The lines of a dry run: commands, after comments on time, disk and paths."""
    # the plan is for a machine that fits the preset, which may be another than this one
    on_gpu = suite.preset in PUBLISHED_CORPORA and "cpu" not in args.devices or processes.needs_gpu(args.devices)
    forecast = _forecast(args, suite, planned_work(suite, layers), on_gpu)
    lines = [*forecast.table(), *forecast.paths(), *superb_cluster.described(args)]
    if suite.cache is not None:
        lines.append(cache_size.describe(suite, suite.cache, kept, cache_size.cached_seconds(suite)))
    yield from (f"# {line}" for line in lines)
    yield from (f"run_downstream.py {shlex.join(work.command)}" for work in forecast.plan)


def _forecast(args: argparse.Namespace, suite: Suite, plan: Sequence[Work], on_gpu: bool | None) -> Forecast:
    """The forecast of a plan, on a cluster or on this machine.

    Args:
        on_gpu: whether the plan is for a machine with GPUs; None for a plan for this machine.
    """
    at_a_time = superb_cluster.at_a_time(args)
    speed = superb_cluster.speed_of_run(args)
    if at_a_time is not None:
        on_gpu = bool(args.gpus_per_run)
    elif on_gpu is None:
        at_a_time = processes.jobs_that_fit(args.jobs, args.devices)
    else:
        at_a_time = args.jobs or len(args.devices) or (1 if on_gpu else processes.jobs_that_fit(None))
    return Forecast(suite, plan, args.tflops, at_a_time, args.devices, on_gpu=on_gpu, speed=speed)


def _damaged_speech() -> list[str]:
    """The problems of corpora that `gendistiller corpus` wrote: s3prl does not name a file that it cannot read."""
    try:
        states = check_corpora(os.environ[VARIABLE])
    except UserError:
        return []  # corpora of another origin
    return [problem for state in states for problem in state.problems][:LISTED]


def _layers(suite: Suite) -> Layers:
    """The hidden states of each model, where a task is evaluated on each of them."""
    if all(task.trained for task in suite.tasks):
        return {}
    if suite.features == "last":
        return {model.name: (None,) for model in suite.models}
    return {
        model.name: tuple(range(count_hidden_states(model.upstream, model.checkpoint, model.steps)))
        for model in one_per_distillation(suite.models)
    }


@contextlib.contextmanager
def _ended_by_signal() -> Iterator[None]:
    """Lets SIGTERM end the suite as ctrl-C does: the runs are ended, and finished parts stay."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)

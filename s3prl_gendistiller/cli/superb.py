"""`gendistiller superb`: SUPERB's tasks for a list of students, as runs of run_downstream.py, and one table."""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import shlex
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from s3prl_gendistiller.cli import arguments
from s3prl_gendistiller.cli.superb_flags import check_pairs, check_search, check_what_runs_need, read_rates
from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.host.feature_store import CACHE_FLAG, LIMIT_FLAG, read_size
from s3prl_gendistiller.host.paths import VARIABLE
from s3prl_gendistiller.superb.agenda import Work, planned_work
from s3prl_gendistiller.superb.decoding import DECODED, find_model
from s3prl_gendistiller.superb.plan import HARDWARE, Layers, Suite
from s3prl_gendistiller.superb.students import FEATURES, Student, find_students
from s3prl_gendistiller.superb.tasks import PRESETS, TASKS, choose_tasks

LISTED = 10
logger = logging.getLogger(__name__)
EXAMPLE = """\
example, on a corpus of `gendistiller corpus data`:
  SUPERB_DATA=data gendistiller superb --student mine=result/pretrain/my_student --student fbank --tasks ks ic er

example, SUPERB's own settings on two GPUs; the plan with its hours comes first, --dry-run prints nothing else:
  SUPERB_DATA=/data gendistiller superb --preset official --devices cuda:0 cuda:1 --student result/pretrain/my_student

A student is NAME=CHECKPOINT of run_pretrain.py, NAME=FOLDER of a run or of a transformers model, or the name of an
s3prl upstream; NAME=CHECKPOINT@2 generates only the student's first two layers. Names that differ only in a number
after the last dot (mine.1, mine.2) are seeds of one kind: they share learning rates and a row. The same command again
goes on where it was stopped and repeats nothing.

--cache-features says beforehand what it may take, keeps nothing that a task draws at random, and leaves 1 GB of its
disk free; what finds no room is computed each time.

The official preset searches each learning rate on dev: decades for a twentieth of the steps, the better half for a
fifth, then three times and a third of the best, and the winner to the end. Dropped rates are its early stop.
"""


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "superb",
        help="run SUPERB's tasks for students and tabulate their scores",
        description="Train and evaluate SUPERB's tasks with run_downstream.py, and tabulate s3prl's own metrics.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--student", metavar="NAME=CHECKPOINT", action="append", required=True, help="one or several")
    parser.add_argument(
        "--tasks", metavar="TASK", nargs="+", default=["all"], help=f"of {', '.join(TASKS)}; default: all"
    )
    parser.add_argument(
        "--preset", choices=PRESETS, default="small", help="small (a laptop) or official (SUPERB's settings)"
    )
    parser.add_argument("--out", metavar="DIR", type=arguments.path, default=Path("result/superb"))
    parser.add_argument(
        "--lr-search",
        action=argparse.BooleanOptionalAction,
        help="choose each task's learning rate on dev, once per kind of student; default: with --preset official",
    )
    parser.add_argument(
        "--halving",
        action=argparse.BooleanOptionalAction,
        help="let a search drop the worse rates early, not train all to the end; default: with --preset official",
    )
    parser.add_argument(
        "--lr",
        metavar="TASK=RATE[,RATE...]",
        nargs="+",
        action="extend",
        default=[],
        help="of tasks, the learning rate or those that a search tries",
    )
    parser.add_argument(
        "--features", choices=FEATURES, default=FEATURES[0], help="weighted sum of the hidden states, or the last one"
    )
    parser.add_argument(
        CACHE_FLAG,
        metavar="DIR",
        type=arguments.path,
        help="keep what the students make of utterances there and compute none of it twice; an hour of speech takes "
        "7 GB for a HuBERT Base, a third of it for its student",
    )
    parser.add_argument(
        LIMIT_FLAG, metavar="SIZE", help="what that folder may hold, such as 50G; else its disk decides"
    )
    parser.add_argument(
        "--devices",
        metavar="DEVICE",
        nargs="+",
        default=[],
        help="such as cuda:0 cuda:1, one run at a time on each (twice on one that is named twice)",
    )
    parser.add_argument(
        "--hardware", choices=HARDWARE, help="official batches in parts, for tasks whose own need a GPU of 16 GB"
    )
    parser.add_argument(
        "--lm",
        metavar="DIR",
        type=arguments.path,
        help="decode ASR a second time with the 4-gram.arpa.gz and lexicon in there",
    )
    parser.add_argument(
        "--tflops", metavar="X", type=arguments.number(above=0), help="what a device sustains, for the estimated hours"
    )
    parser.add_argument(
        "--jobs", metavar="N", type=arguments.count(), help="runs at a time; default: what cores and memory allow"
    )
    parser.add_argument(
        "--seed", type=arguments.seed, default=1337, help="of the downstream runs; default: s3prl's 1337"
    )
    parser.add_argument("-o", "--override", default="", help="for every training, as run_downstream.py's -o")
    parser.add_argument("--score-from", metavar="NAME", default="fbank", help="student that scores 0 (default: fbank)")
    parser.add_argument("--score-to", metavar="NAME", default="teacher", help="and 1000 (default: teacher)")
    parser.add_argument("--dry-run", action="store_true", help="print plan and commands and run nothing")
    parser.set_defaults(run=run, way_on="the same command goes on from there and repeats no finished run")


def run(args: argparse.Namespace) -> int:
    from s3prl_gendistiller.superb import launcher, results_file, space, trial

    suite = _suite(args)
    suite, kept = space.kept_features(suite)
    layers = _layers(suite)
    if args.dry_run:
        # what such a machine would do, whatever this one is
        on_gpu = suite.preset == "official" or launcher.needs_gpu(args.devices)
        at_a_time = args.jobs or len(args.devices) or (1 if on_gpu else launcher.jobs_that_fit(None))
        agenda = planned_work(suite, layers)
        _print_plan(args, suite, agenda, at_a_time, on_gpu and "cpu" not in args.devices)
        if suite.cache is not None:
            print(f"# {space.describe(suite, suite.cache, kept)}")
        print("\n".join(f"run_downstream.py {shlex.join(work.command)}" for work in agenda))
        return 0
    launcher.check_devices(args.devices)
    results_file.require_same_settings(suite)
    trial.require_own_folders(suite)
    if suite.cache is not None:
        space.require_room(suite, suite.cache, kept)
        logger.info("%s", space.describe(suite, suite.cache, kept))
    jobs = launcher.jobs_that_fit(args.jobs, args.devices)
    if suite.preset == "official":
        _print_plan(args, suite, planned_work(suite, layers), jobs, launcher.needs_gpu(args.devices))
    devices = [args.devices[slot % len(args.devices)] for slot in range(jobs)] if args.devices else []
    try:
        _run(suite, layers, jobs, devices, (args.score_from, args.score_to))
    except KeyboardInterrupt:
        print("stopped; what is finished is kept, and the same command goes on from there", file=sys.stderr)
        return 130
    return 0


def _run(suite: Suite, layers: Layers, jobs: int, devices: Sequence[str], references: tuple[str, str]) -> None:
    """
    Raises:
        UserError: something has no result; everything else has been written.
    """
    from s3prl_gendistiller.cli import downstream
    from s3prl_gendistiller.superb import costs, launcher, results_file, runs, table

    with _ended_by_signal(), launcher.running(suite.out, downstream.main, jobs, devices) as launch:
        results, failures = runs.run_suite(suite, launch, layers, jobs)
        if any(results.values()):  # else what the folder held before stays as it is
            whole, all_results, all_costs = results_file.merged(suite, results, costs.measure(suite.students))
            score = table.choose_references(all_results, *references, suite.preset)
            paths = table.write_results(whole, all_results, failures, score, all_costs)
            print(paths[1].read_text(encoding="utf-8"))
            print(", ".join(map(str, paths)))
    if failures:
        expected = len(suite.students) * len(suite.tasks)
        lines = [*failures, *_damaged_speech()]
        raise UserError(
            f"{expected - sum(map(len, results.values()))} of {expected} have no result; what is finished is kept, "
            "and the same command goes on from there:\n  " + "\n  ".join(lines)
        )


def _print_plan(args: argparse.Namespace, suite: Suite, agenda: Sequence[Work], at_a_time: int, on_gpu: bool) -> None:
    """As comments, so that a dry run's output is still a list of commands."""
    from s3prl_gendistiller.superb import costs, hours

    rate = hours.sustained(args.tflops, on_gpu, min(len(set(args.devices)) or 1, at_a_time), at_a_time)
    gmacs = {student.name: costs.size(student)[1] for student in suite.students}
    found = hours.estimate(suite, agenda, gmacs, rate)
    lines = hours.describe(found, rate, at_a_time, on_gpu).splitlines()
    for name, path in suite.paths():
        there = os.path.exists(os.path.expandvars(path))
        lines.append(f"{name} reads {path}{'' if there else ' (not there)'}")
    print("\n".join(f"# {line}" for line in lines), flush=True)


def _damaged_speech() -> list[str]:
    """What is wrong with corpora that `gendistiller corpus` wrote: s3prl does not name the file that it cannot read."""
    from s3prl_gendistiller.corpora.catalogue import check_corpora

    try:
        states = check_corpora(os.environ[VARIABLE])
    except UserError:
        return []  # corpora of another origin
    return [problem for state in states for problem in state.problems][:LISTED]


def _suite(args: argparse.Namespace) -> Suite:
    """Checks everything that can be checked before the first run starts."""
    tasks = choose_tasks(args.tasks)
    official = args.preset == "official"
    suite = Suite(
        students=find_students(args.student),
        tasks=tasks,
        preset=args.preset,
        out=args.out,
        search=official if args.lr_search is None else args.lr_search,
        rates=read_rates(args.lr, tasks),
        features=args.features,
        seed=args.seed,
        overrides=args.override,
        cache=args.cache_features,
        cache_limit=None if args.cache_limit is None else read_size(args.cache_limit),
        halving=official if args.halving is None else args.halving,
        hardware=args.hardware,
        lm=args.lm,
    )
    check_pairs(args, suite)
    check_search(suite, args.halving)
    if suite.lm is not None:
        if TASKS[DECODED] not in tasks:
            raise UserError(f"--lm: found without {DECODED} among the tasks, which is what it decodes; leave it out")
        find_model(suite.lm)
    _refuse_unknown_upstreams(suite.students)
    if not args.dry_run:
        check_what_runs_need(suite)
    return suite


def _refuse_unknown_upstreams(students: Sequence[Student]) -> None:
    if any(student.checkpoint is None for student in students):
        from s3prl_gendistiller.host.runner_checks import check_upstream
        from s3prl_gendistiller.host.upstreams import STUDENT

        for student in students:
            if student.checkpoint is None:
                check_upstream(student.upstream, None, door=STUDENT)


def _layers(suite: Suite) -> Layers:
    """The hidden states of each student, where a task looks at them one by one."""
    if all(task.trained for task in suite.tasks):
        return {}
    from s3prl_gendistiller.host.layers import count_hidden_states

    if suite.features == "last":
        return {student.name: (None,) for student in suite.students}
    return {
        student.name: tuple(range(count_hidden_states(student.upstream, student.checkpoint, student.steps)))
        for student in suite.students
    }


@contextlib.contextmanager
def _ended_by_signal() -> Any:
    """A polite kill ends the suite as ctrl-C does: the runs are told, and what is finished stays."""

    def interrupt(number: int, frame: Any) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)

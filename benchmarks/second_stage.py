"""GLMD's second stage and training with labels: the same students, heads and learning rates.

    python benchmarks/second_stage.py --data data/small --results result/finals/superb --tasks ks sid

`--results` is the folder of a finished `gendistiller superb`, as benchmarks/forms.py writes it. Its runs of the student
`--teacher` are the teacher's heads, and its scores of the other students are those with labels. All seeds of each
student in `--students` are trained again without labels. A repeated command continues an interrupted one.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from s3prl_gendistiller.cli import downstream
from s3prl_gendistiller.cli.launch import guarded
from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.host import compat
from s3prl_gendistiller.host.paths import VARIABLE
from s3prl_gendistiller.host.soft_labels import BASES, PREFIX, SECTION, teacher_checkpoint
from s3prl_gendistiller.shipped import shipped_folder
from s3prl_gendistiller.student_kinds import student_upstreams
from s3prl_gendistiller.superb.models import BenchmarkedModel
from s3prl_gendistiller.superb.suite import processes
from s3prl_gendistiller.superb.suite.benchmark import run_suite
from s3prl_gendistiller.superb.suite.results import RESULTS, Outcome, read_content
from s3prl_gendistiller.superb.suite.suite import Suite
from s3prl_gendistiller.superb.suite.table import markdown, mean_and_spread
from s3prl_gendistiller.superb.tasks import TASKS

Scores = dict[str, list[float]]  # kind of student -> one number a seed


def second_stage(results: Mapping[str, Any], name: str, args: argparse.Namespace) -> Suite:
    """The suite of one task with the teacher's head in place of labels, at the learning rate of the runs with labels.

    Raises:
        UserError: the task has no second stage or has folds, or `results` holds no such run.
    """
    task = TASKS.get(name)
    if task is None or PREFIX + name not in BASES or task.folds:
        raise UserError(f"--tasks {name}: expected one of ks, ic, sid, pr, asr")
    of_teacher = results["students"].get(args.teacher, {}).get("tasks", {}).get(name)
    if of_teacher is None:
        raise UserError(f"--teacher {args.teacher}: {args.results} holds no run of it on {name}")
    head = teacher_checkpoint(of_teacher["folders"][0]).absolute()
    students, rates = [], set()
    for row, found in results["students"].items():
        if found["kind"] in args.students and found["upstream"] in student_upstreams() and name in found["tasks"]:
            students.append(BenchmarkedModel(row, found["upstream"], Path(found["checkpoint"]), found["steps"]))
            rates.add(found["tasks"][name]["lr"])
    if not students or len(rates) > 1:
        named = " ".join(args.students)
        raise UserError(
            f"--students {named}: expected distilled ones of {args.results}, with one rate on {name} for all"
        )
    # the second stage reads the YAML files of the task itself
    small, official = (str(shipped_folder("downstream_runs") / task.config(preset)) for preset in ("small", "official"))
    return Suite(
        students,
        [replace(task, downstream=PREFIX + name, configs=(small, official))],
        results["preset"],
        args.out / name,
        rates={name: tuple(rate for rate in rates if rate is not None)} if rates != {None} else {},
        features=results["features"],
        seed=results["seed"],
        overrides=f"config.downstream_expert.{SECTION}.teacher={str(head)!r}",
        cache=args.cache_features,
    )


def by_kind(suite: Suite, found: Mapping[str, Mapping[str, Any]], key: str) -> Scores:
    """One metric of the suite's students by kind, one value for each seed."""
    name = suite.tasks[0].name
    return {
        kind: [found[seed.name][name]["values"][key] for seed in seeds if name in found[seed.name]]
        for kind, seeds in suite.groups().items()
    }


def train(suite: Suite, jobs: int | None) -> dict[str, dict[str, Outcome]]:
    """Trains and tests missing runs.

    Raises:
        UserError: a run failed.
    """
    at_a_time = min(processes.jobs_that_fit(jobs), len(suite.models))
    with processes.running(suite.out, downstream.main, at_a_time) as launch:
        found, failures = run_suite(suite, launch, {}, at_a_time)
    if failures:
        raise UserError("\n".join(failures))
    return found


def run(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="value of SUPERB_DATA")
    parser.add_argument("--results", type=Path, required=True, help="folder of a finished gendistiller superb")
    parser.add_argument("--teacher", default="teacher", help="its student whose heads replace labels")
    parser.add_argument("--students", nargs="+", default=["gendistiller"], help="names without their seeds")
    parser.add_argument("--tasks", nargs="+", default=["ks", "sid"])
    parser.add_argument("--cache-features", metavar="DIR", type=Path, help="as gendistiller superb")
    parser.add_argument("--jobs", type=int, help="runs at a time")
    parser.add_argument("--out", type=Path, default=Path("result/second_stage"))
    args = parser.parse_args(argv)
    compat.apply()
    source = args.results / RESULTS
    if not source.is_file():
        raise UserError(f"{source}: no such file; expected the folder of a finished gendistiller superb")
    results = read_content(source)
    os.environ[VARIABLE] = str(args.data.absolute())
    suites = [second_stage(results, name, args) for name in args.tasks]
    lines = [["task", "student", "with labels", "teacher's head, no labels", "the teacher itself"]]
    labelled = {row: found["tasks"] for row, found in results["students"].items()}
    for name, suite in zip(args.tasks, suites, strict=True):
        soft = {row: {name: vars(tasks[name])} for row, tasks in train(suite, args.jobs).items()}
        for metric in TASKS[name].metrics:
            plain, learned = by_kind(suite, labelled, metric.key), by_kind(suite, soft, metric.key)
            top = labelled[args.teacher][name]["values"][metric.key]
            for kind in plain:
                cells = [mean_and_spread(plain[kind], 2), mean_and_spread(learned[kind], 2), f"{top:.2f}"]
                lines.append([f"{name.upper()} {metric.label}", kind, *cells])
    (args.out / "second_stage.md").write_text(markdown(lines), encoding="utf-8")
    print(markdown(lines))
    return 0


if __name__ == "__main__":
    sys.exit(guarded(run, None))

"""A student that stops early: task scores against the number of layers that it generates, and against its time.

    python benchmarks/depth.py --speech data/medium/LibriSpeech --data data/small --tasks pr ks sid \\
        --student default=result/forms/steps600_lr0.004_seed1/gendistiller \\
        --student random_depth=result/forms/steps600_lr0.004_seed1/random_depth

Each student is evaluated after each of its layers, as by `gendistiller superb --student NAME=RUN@K`: its features are
then the first K + 1 of its hidden states. CPU times are medians; all students alternate in one process.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from miniature.recipe import add_arguments, from_arguments
from s3prl_gendistiller.cli.launch import guarded
from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.host import compat
from s3prl_gendistiller.host.checkpoint import newest_checkpoint
from s3prl_gendistiller.host.students import load_student
from s3prl_gendistiller.models.gendistiller import GenDistiller
from s3prl_gendistiller.superb.pictures import chart
from s3prl_gendistiller.superb.suite.table import arrow
from s3prl_gendistiller.superb.tasks import TASKS


def stopped(texts: list[str]) -> list[str]:
    """NAME=RUN to NAME-K=RUN@K for each K that the student generates.

    Raises:
        UserError: a text is not of that form, or the run holds no GenDistiller.
    """
    found = []
    for text in texts:
        name, _, run = text.partition("=")
        checkpoint = newest_checkpoint(run) if run else None
        student = None if checkpoint is None else load_student(checkpoint)
        if not isinstance(student, GenDistiller):
            raise UserError(f"--student {text}: expected NAME=RUN, the folder of a distilled GenDistiller")
        found += [f"{name}-{steps}={run}@{steps}" for steps in range(1, student.num_steps + 1)]
    return found


def curves(results: Mapping[str, Any], task: str, key: str, cost: str) -> dict[str, list[tuple[int, float, float]]]:
    """For each student its points (steps, cost, score) in the order of steps."""
    found: dict[str, list[tuple[int, float, float]]] = {}
    for name, student in results["students"].items():
        if student["steps"] is not None and task in student["tasks"]:
            stem = name.rpartition("-")[0]
            point = (student["steps"], student["cost"][cost], student["tasks"][task]["values"][key])
            found.setdefault(stem, []).append(point)
    return {name: sorted(points) for name, points in found.items()}


def draw(results: Mapping[str, Any], tasks: list[str], out: Path) -> None:
    """Draws a panel for each task: one line for each student, numbered by its layers, and the teacher as a level."""
    with chart(out, 4.6, 4, len(tasks)) as axes:
        for axis, task in zip(axes, tasks, strict=True):
            metric = TASKS[task].metrics[0]
            for place, (name, points) in enumerate(curves(results, task, metric.key, "cpu_s_per_s").items()):
                seconds, values = [point[1] * 1000 for point in points], [point[2] for point in points]
                axis.plot(seconds, values, "o-", color=f"C{place}", label=name, markersize=4)
                for (steps, *_), x, y in zip(points, seconds, values, strict=True):
                    axis.annotate(str(steps), (x, y), textcoords="offset points", xytext=(4, 4), fontsize=8)
            if task in results["students"].get("teacher", {}).get("tasks", {}):
                level = results["students"]["teacher"]["tasks"][task]["values"][metric.key]
                axis.axhline(level, color="grey", linestyle="--", label="teacher")
            axis.set(xlabel="CPU ms per second of audio", title=f"{task.upper()} {metric.label} {arrow(metric)}")
        axes[0].legend(fontsize=8)


def run(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser, "result/depth")
    parser.add_argument("--student", metavar="NAME=RUN", action="append", required=True, help="one or several")
    args = parser.parse_args(argv)
    compat.apply()
    results = from_arguments(args).suite(stopped(args.student), "superb")
    tasks = [task for task in TASKS if any(task in student["tasks"] for student in results["students"].values())]
    draw(results, tasks, args.out / "depth.png")
    print(args.out / "depth.png")
    return 0


if __name__ == "__main__":
    sys.exit(guarded(run, None))

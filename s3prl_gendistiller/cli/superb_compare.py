"""`gendistiller superb --compare A B`: two students of a finished suite, with intervals and p values."""

from __future__ import annotations

import argparse

from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.outputs import check_writable, write_text
from s3prl_gendistiller.superb.comparison.compared import compare_students, read_pair
from s3prl_gendistiller.superb.comparison.report import as_markdown, reasons
from s3prl_gendistiller.superb.tasks import choose_tasks

_OF_RUNS = (
    *("student", "lr_search", "halving", "lr", "cache_features", "cache_limit", "devices", "hardware", "lm"),
    *("tflops", "jobs", "seeds", "override", "dry_run"),
)
"""Flags of runs, which a comparison does not start."""


def compare(args: argparse.Namespace) -> int:
    """Prints the table, and writes it into the suite's folder."""
    if given := [f"--{name.replace('_', '-')}" for name in _OF_RUNS if getattr(args, name)]:
        raise UserError(f"--compare: found beside {', '.join(given)}, but it starts no run; leave that out")
    tasks = choose_tasks(args.tasks)
    first, second = read_pair(args.out, args.compare)
    folder = args.out if args.out.is_dir() else args.out.parent
    path = folder / f"compare_{first.name}_{second.name}.md"
    check_writable(path, "--out", folder=False)
    rows, left_out = compare_students(first, second, tasks)
    if not rows:
        nothing = f"--compare: {first.name} and {second.name} have no task to compare"
        raise UserError("\n".join([nothing, *reasons(left_out)]))
    text = as_markdown(first, second, rows, left_out)
    write_text(path, text)
    print(f"{text}\n{path}")
    return 0

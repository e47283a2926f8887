"""`gendistiller corpus`: synthetic speech for all ten SUPERB tasks in the official layouts."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

from s3prl_gendistiller.cli import arguments
from s3prl_gendistiller.corpora.catalogue import TASKS, check_corpora, write_corpora
from s3prl_gendistiller.errors import UserError, shortened
from s3prl_gendistiller.outputs import check_writable

_LISTED = 20

_DESCRIPTION = f"""\
Write speech for SUPERB's tasks below OUT, in the layout and under the folder names that s3prl's loaders expect:
with SUPERB_DATA=OUT every task finds its data. The speech is synthetic (espeak-ng), and the README.md of each folder
states that.

The same arguments give the same bytes. A repeated command continues an interrupted one, and writes missing or damaged
files again. A folder with any other content is left as it is.

tasks: {", ".join(TASKS)}"""

_EXAMPLE = """\
example:
  gendistiller corpus data --size small
  gendistiller corpus data/bench --size bench
  gendistiller corpus data --size tiny --tasks ks er
  gendistiller corpus data --check"""


def add_parser(subparsers: Any) -> None:
    about, way_on = "write speech for all ten SUPERB tasks in the official layouts", "the same command continues"
    add = arguments.add_command(subparsers, "corpus", run, about, _DESCRIPTION, _EXAMPLE, way_on).add_argument
    add("out", metavar="OUT", type=arguments.path, help="folder for the corpora; set SUPERB_DATA to it afterwards")
    sizes = "tiny (seconds of work), small (3.6 hours of speech, 0.4 GB, the default), medium (10 hours, 1.2 GB) or "
    sizes += "bench (8 hours, 0.9 GB: the training sets of small with test sets up to fourteen times as large)"
    add("--size", metavar="SIZE", help=sizes)
    add("--seed", metavar="N", type=arguments.seed, help="other voices, sentences and noise (0)")
    add("--tasks", metavar="TASK", nargs="+", help="only the corpora that these tasks need")
    add("--check", action="store_true", help="write nothing; compare the files with their checksums")
    add("--workers", type=arguments.count(), metavar="N", help="processes (one per core)")
    add("--no-progress", action="store_true", help="no progress bar")


def run(args: argparse.Namespace) -> int:
    tasks = None if args.tasks is None else [task for text in args.tasks for task in text.split(",") if task]
    if args.check:
        for flag in ("size", "seed", "workers"):
            if getattr(args, flag) is not None:
                raise UserError(f"--{flag}: found with --check, which has no use for it; leave one out")
        return _check(args.out, tasks)
    started = time.monotonic()
    check_writable(args.out, "OUT", folder=True)
    size, seed, progress = args.size or "small", args.seed or 0, not args.no_progress
    tasks = tasks or list(TASKS)
    for root in write_corpora(args.out, size=size, seed=seed, tasks=tasks, workers=args.workers, progress=progress):
        print(root)
    print(f"{time.monotonic() - started:.0f} s; now: export SUPERB_DATA={args.out.absolute()}")
    return 0


def _check(out: Path, tasks: list[str] | None) -> int:
    problems: list[str] = []
    for state in check_corpora(out, tasks):
        problems += state.problems
        if not state.problems:
            print(f"{state.root}: {state.files} files as written")
    if problems:
        raise UserError("\n  ".join([f"{len(problems)} problems in {out}:", *shortened(problems, _LISTED)]))
    return 0

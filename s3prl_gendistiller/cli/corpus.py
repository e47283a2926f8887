"""`gendistiller corpus`: synthetic speech for all ten SUPERB tasks in the official layouts."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from s3prl_gendistiller.cli import arguments
from s3prl_gendistiller.corpora.catalogue import TASKS, check_corpora, write_corpora
from s3prl_gendistiller.errors import UserError, shortened
from s3prl_gendistiller.outputs import check_writable

_LISTED = 20

_DESCRIPTION = f"""\
Write speech for SUPERB's tasks below OUT, in the layout and under the folder names that s3prl's loaders expect:
with SUPERB_DATA=OUT every task finds its data. The speech is synthetic (espeak-ng) and says so in each folder.

The same arguments give the same bytes. A repeated command continues an interrupted one, and writes missing or damaged
files again. A folder with any other content is left as it is.

tasks: {", ".join(TASKS)}"""

_EXAMPLE = """\
example:
  gendistiller corpus data --size small
  gendistiller corpus data --size tiny --tasks ks er
  gendistiller corpus data --check"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to `gendistiller`."""
    parser = subparsers.add_parser(
        "corpus",
        help="write speech for all ten SUPERB tasks in the official layouts",
        description=_DESCRIPTION,
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "out", metavar="OUT", type=arguments.path, help="folder for the corpora; what SUPERB_DATA is to name"
    )
    sizes = "tiny (seconds of work), small (3 hours of speech, the default) or medium (10 hours)"
    parser.add_argument("--size", metavar="SIZE", help=sizes)
    parser.add_argument("--seed", metavar="N", type=arguments.seed, help="other voices, sentences and noise (0)")
    parser.add_argument("--tasks", metavar="TASK", nargs="+", help="only the corpora that these tasks need")
    parser.add_argument("--check", action="store_true", help="write nothing; compare the files with their checksums")
    parser.add_argument("--workers", type=int, metavar="N", help="processes (one per core)")
    parser.add_argument("--no-progress", action="store_true", help="no progress bar")
    parser.set_defaults(run=run, way_on="the same command continues")


def run(args: argparse.Namespace) -> int:
    """Writes or checks corpora and prints their folders."""
    if args.workers is not None and args.workers < 1:
        raise UserError(f"--workers: found {args.workers}, expected at least 1")
    tasks = None if args.tasks is None else [task for text in args.tasks for task in text.split(",") if task]
    if args.check:
        for flag in ("size", "seed", "workers"):
            if getattr(args, flag) is not None:
                raise UserError(f"--{flag}: found with --check, which has no use for it; leave one out")
        return _check(args.out, tasks)
    started = time.monotonic()
    check_writable(args.out, "OUT", folder=True)
    written = write_corpora(
        args.out,
        size=args.size or "small",
        seed=args.seed or 0,
        tasks=tasks or tuple(TASKS),
        workers=args.workers,
        progress=not args.no_progress,
    )
    for root in written:
        print(root)
    print(f"{time.monotonic() - started:.0f} s; now: export SUPERB_DATA={args.out.absolute()}")
    return 0


def _check(out: Path, tasks: list[str] | None) -> int:
    states = check_corpora(out, tasks)
    for state in states:
        if not state.problems:
            print(f"{state.root}: {state.files} files as written")
    problems = [problem for state in states for problem in state.problems]
    if problems:
        raise UserError("\n  ".join([f"{len(problems)} problems in {out}:", *shortened(problems, _LISTED)]))
    return 0

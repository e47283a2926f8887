"""`gendistiller board`: one page with results beside published rows, for a browser, opened from disk."""

from __future__ import annotations

import argparse
import webbrowser
from pathlib import Path
from typing import Any

from s3prl_gendistiller.cli import arguments
from s3prl_gendistiller.outputs import check_writable
from s3prl_gendistiller.superb.board.page import board, check_replaceable, write_board
from s3prl_gendistiller.superb.board.suites import read_suites

_DESCRIPTION = """\
Write one page that shows results of `gendistiller superb` beside published models: a table that sorts and filters,
charts of score against size, quality against generated layers, searches of learning rates, and curves of the
distillations. The page is one file, opens from disk and asks the network for nothing. Without RESULTS it holds the
published models alone."""

_EXAMPLE = """\
example:
  gendistiller board result/superb                                     # writes result/board.html
  gendistiller board result/a result/b --compare mine --out board.html # marks all students against mine"""


def add_parser(subparsers: Any) -> None:
    about = "write one page with results beside published models"
    add = arguments.add_command(subparsers, "board", run, about, _DESCRIPTION, _EXAMPLE).add_argument
    add("results", nargs="*", type=arguments.path, help="results.json of `gendistiller superb`, or its folder")
    out = Path("result/board.html")
    add("--out", type=arguments.path, metavar="HTML", default=out, help="default: %(default)s")
    marked = "mark where each student is better, worse or level, against this student of the same suite"
    add("--compare", type=arguments.text, metavar="STUDENT", help=marked)
    add("--overwrite", action="store_true", help="replace --out also where it is no board")
    add("--open", action="store_true", help="open the page in the browser of this machine")


def run(args: argparse.Namespace) -> int:
    check_writable(args.out, "--out", folder=False)
    check_replaceable(args.out, overwrite=args.overwrite)
    suites = read_suites(args.results)
    write_board(args.out, board(suites, args.compare), overwrite=args.overwrite)
    count = sum(len(one.suite.groups()) for one in suites)
    print(f"{args.out}: {count} {'row' if count == 1 else 'rows'} of yours beside published ones")
    if args.open:
        webbrowser.open(args.out.resolve().as_uri())
    return 0

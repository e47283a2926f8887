"""The `gendistiller` command: one subcommand for each job besides training and evaluation."""

from __future__ import annotations

import argparse
import importlib
import io
import sys
from collections.abc import Sequence

from s3prl_gendistiller._version import __version__

# Each module has add_parser(subparsers). The order is the order of --help.
_PREPARE = ("demo", "config", "corpus", "data", "manifest", "units")
COMMANDS = (*_PREPARE, "superb", "score", "board", "macs", "submit", "export", "extract", "curves", "link")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one subcommand; the exit status is 2 for every mistake in the input."""
    from s3prl_gendistiller.cli.launch import guarded

    return guarded(_run, argv)


def parser() -> argparse.ArgumentParser:
    from s3prl_gendistiller.cli.arguments import VERBOSE_HELP, Parser

    made = Parser(
        prog="gendistiller",
        description="Distil HuBERT and WavLM into small students inside s3prl.",
        epilog="Training and evaluation are s3prl's own scripts: run_pretrain.py and run_downstream.py.",
    )
    made.add_argument("-v", "--verbose", action="store_true", help=VERBOSE_HELP)
    made.add_argument("--version", action="version", version=f"s3prl-gendistiller {__version__}")
    subparsers = made.add_subparsers(title="commands", metavar="COMMAND")
    for name in COMMANDS:
        importlib.import_module(f"s3prl_gendistiller.cli.{name}").add_parser(subparsers)
    return made


def _run(argv: Sequence[str]) -> int:
    from s3prl_gendistiller.cli.launch import Interrupted
    from s3prl_gendistiller.host import compat_messages

    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # for names of files that are not UTF-8
    args = parser().parse_args(argv)
    compat_messages.choose(args.verbose)
    if not hasattr(args, "run"):
        parser().print_help(sys.stderr)
        return 2
    try:
        return int(args.run(args))
    except KeyboardInterrupt as stop:
        raise Interrupted(args.way_on) from stop

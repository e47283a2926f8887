"""`gendistiller link PATH` and `gendistiller unlink PATH`: our tasks in a git checkout of s3prl."""

from __future__ import annotations

import argparse
from typing import Any

from s3prl_gendistiller.cli import arguments
from s3prl_gendistiller.host.link import link, package_folder, unlink

_LINK = """\
Link the pretrain tasks gendistiller and distilhubert and the upstream gendistiller into a git checkout of s3prl, and
import the upstream in its hub.py. `gendistiller unlink` undoes this."""
_UNLINK = """\
Remove the links of `gendistiller link` from a git checkout of s3prl, and restore hub.py byte for byte. If a
linked folder holds a file of yours, the command names the file and removes nothing."""
_NEXT = """
next:
  cd {}
  python run_pretrain.py -u gendistiller -n my_student
  python -m s3prl_gendistiller run_downstream.py -u gendistiller_local -d asr

s3prl's own scripts run text from checkpoints and configurations as Python. For files of other people, put
-m s3prl_gendistiller in front, which checks the files first."""


def add_parser(subparsers: Any) -> None:
    for name, where, text, run in (("link", "into", _LINK, run_link), ("unlink", "from", _UNLINK, run_unlink)):
        about, example = f"{name} our tasks {where} a git checkout of s3prl", f"example: gendistiller {name} ~/s3prl"
        parser = arguments.add_command(subparsers, name, run, about, text, example)
        parser.add_argument("path", metavar="PATH", type=arguments.path, help="the checkout, or the s3prl folder in it")


def run_link(args: argparse.Namespace) -> int:
    for line in link(args.path) or ["already linked"]:
        print(line)
    print(_NEXT.format(package_folder(args.path)))
    return 0


def run_unlink(args: argparse.Namespace) -> int:
    for line in unlink(args.path) or ["no link of s3prl-gendistiller is in this checkout"]:
        print(line)
    return 0

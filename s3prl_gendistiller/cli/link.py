"""`gendistiller link PATH` and `gendistiller unlink PATH`: our tasks in a git checkout of s3prl."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from s3prl_gendistiller.cli import arguments
from s3prl_gendistiller.host.link import link, package_folder, unlink

_LINK = (
    "Link the pretrain tasks gendistiller and distilhubert and the upstream gendistiller into a git checkout "
    "of s3prl, and import the upstream in its hub.py. `gendistiller unlink` undoes this."
)
_UNLINK = (
    "Remove from a git checkout of s3prl what `gendistiller link` put there. hub.py becomes byte for byte "
    "what it was. If a linked folder holds a file of yours, the command names the file and removes nothing."
)


def add_parser(subparsers: Any) -> None:
    """Add the commands `link` and `unlink`; each sets ``run`` to its function."""
    for name, about, run in (("link", _LINK, run_link), ("unlink", _UNLINK, run_unlink)):
        parser = subparsers.add_parser(
            name,
            help=f"{name} our tasks {'into' if name == 'link' else 'from'} a git checkout of s3prl",
            description=about,
            epilog=f"example: gendistiller {name} ~/s3prl",
        )
        parser.add_argument("path", metavar="PATH", type=arguments.path, help="the checkout, or the s3prl folder in it")
        parser.set_defaults(run=run)


def run_link(args: argparse.Namespace) -> int:
    """Links, then prints the changes and the next commands."""
    for line in link(args.path) or ["already linked"]:
        print(line)
    print(next_commands(package_folder(args.path)))
    return 0


def run_unlink(args: argparse.Namespace) -> int:
    """Unlinks, then prints the changes."""
    for line in unlink(args.path) or ["nothing of ours is linked there"]:
        print(line)
    return 0


def next_commands(package: Path) -> str:
    """Commands for a linked checkout, whose s3prl folder is `package`."""
    return (
        "\nnext:\n"
        f"  cd {package}\n"
        "  python run_pretrain.py -u gendistiller -n my_student\n"
        "  python -m s3prl_gendistiller run_downstream.py -u gendistiller_local -d asr\n"
        "\ns3prl's scripts as they stand evaluate names in checkpoints and configurations as Python: start those of\n"
        "others with -m s3prl_gendistiller, which checks them first"
    )

"""`gendistiller data sources` and `gendistiller data verify`: the sources of corpora, and checks of their archives."""

from __future__ import annotations

import argparse
from typing import Any

from s3prl_gendistiller.cli import arguments
from s3prl_gendistiller.superb.corpus.instructions import PREFACE, by_source, instructions
from s3prl_gendistiller.superb.corpus.verify import OTHER, missing, verify
from s3prl_gendistiller.superb.tasks import TASKS, choose_tasks

_SOURCES = """\
Print for each corpus its official source, licence, archives with sizes and checksums, expected counts, dead addresses,
and the commands from archive to the layout under SUPERB_DATA that s3prl reads. Facts stand in comments, so that bash
can run the text. This command downloads nothing."""

_SOURCES_EXAMPLE = """\
examples:
  gendistiller data sources --tasks pr asr
  gendistiller data sources --tasks ks > ks.sh    # read it, then: ARCHIVES=archives SUPERB_DATA=data bash ks.sh"""

_VERIFY = """\
Compare the archives of SUPERB's corpora in a folder with their published sizes and MD5 or SHA-256 checksums. Exit
status 2 if an archive is another file than the published one."""

_VERIFY_EXAMPLE = """\
example:
  gendistiller data verify /data/archives --tasks pr sid"""


def add_actions(actions: Any) -> None:
    tasks = f"any of {', '.join(TASKS)}; default: all"
    about = "print where each corpus comes from, and the steps from archive to layout"
    add = arguments.add_command(actions, "sources", sources, about, _SOURCES, _SOURCES_EXAMPLE).add_argument
    add("--tasks", metavar="TASK", nargs="+", default=["all"], help=tasks)
    about = "compare downloaded archives with published checksums"
    add = arguments.add_command(actions, "verify", verified, about, _VERIFY, _VERIFY_EXAMPLE).add_argument
    add("archives", metavar="DIR", type=arguments.path, help="the folder that holds the archives")
    add("--tasks", metavar="TASK", nargs="+", default=["all"], help=tasks)
    add("--no-progress", action="store_true", help="no progress bar")


def sources(args: argparse.Namespace) -> int:
    corpora = by_source(choose_tasks(args.tasks))
    print("\n".join(PREFACE))
    for source, tasks in corpora.items():
        print("\n" + "\n".join(instructions(source, tasks)))
    return 0


def verified(args: argparse.Namespace) -> int:
    corpora = by_source(choose_tasks(args.tasks))
    states = []
    for verdict in verify(args.archives, corpora, progress=not args.no_progress):
        print(f"{verdict.archive.name}: {verdict.state}: {verdict.found}")
        states.append(verdict.state)
    for source, tasks in corpora.items():
        if absent := missing(args.archives, source):
            print(f"{tasks[0].corpus.name}: not there: {', '.join(absent)}")
    return 2 if OTHER in states else 0

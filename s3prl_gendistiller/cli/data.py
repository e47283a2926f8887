"""`gendistiller data`: checks SUPERB's corpora under SUPERB_DATA, and writes the lists that s3prl needs for them."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from s3prl_gendistiller.cli import arguments, data_archives
from s3prl_gendistiller.corpora import folder
from s3prl_gendistiller.corpora.espeak import Espeak
from s3prl_gendistiller.corpora.lexicon import pronunciations
from s3prl_gendistiller.errors import UserError, shortened
from s3prl_gendistiller.superb.corpus.check import ABSENT, COMPLETE, SYNTHETIC, Report, Shelf, check, need
from s3prl_gendistiller.superb.corpus.instructions import total_in_words
from s3prl_gendistiller.superb.corpus.lists import content_faults
from s3prl_gendistiller.superb.corpus.make import find_sources, make
from s3prl_gendistiller.superb.suite.table import markdown
from s3prl_gendistiller.superb.tasks import TASKS, choose_tasks

_LISTED = 10

_DESCRIPTION = """\
Compare the files under SUPERB_DATA with what each task's configuration and s3prl's loaders read, and with the
published size of each corpus: audio files, hours, rate and channels (from the headers, with the first and the last
samples), label files line by line, and the audio files that the labels name.
A small corpus of `gendistiller corpus` is called synthetic, not incomplete. Exit status 2 if a task cannot be run.

--make writes lists that follow from the corpora and overwrites no file: LibriSpeech's len_for_bucket lists (ASR) and
lexicon.txt (PR), the Kaldi tables of Libri2Mix (SD), the fold lists of IEMOCAP (ER). Lists that SUPERB takes from a git
checkout of s3prl (SID, ASV) are copied from there. `gendistiller corpus` writes the
files that a synthetic corpus lacks."""

_EXAMPLE = """\
examples:
  SUPERB_DATA=/data/corpora gendistiller data check
  gendistiller data check --tasks pr asr --make
  gendistiller data check --make --s3prl ~/s3prl --librimix ~/LibriMix"""


def add_parser(subparsers: Any) -> None:
    data = subparsers.add_parser("data", help="check SUPERB's corpora, say where they come from, write s3prl's lists")
    actions = data.add_subparsers(title="actions", metavar="ACTION", required=True)
    about = "show for each task what is there, what is missing, and where the corpus is published"
    way_on = "the same command continues"
    add = arguments.add_command(actions, "check", run, about, _DESCRIPTION, _EXAMPLE, way_on).add_argument
    add("--tasks", metavar="TASK", nargs="+", default=["all"], help=f"any of {', '.join(TASKS)}; default: all")
    add("--make", action="store_true", help="write the missing lists that can be made")
    add("--s3prl", metavar="DIR", type=arguments.path, help="a git checkout of s3prl, for --make")
    add("--librimix", metavar="DIR", type=arguments.path, help="a git checkout of s3prl's LibriMix, for --make")
    add("--no-durations", action="store_true", help="count files and read no headers")
    add("--no-progress", action="store_true", help="no progress bar")
    data_archives.add_actions(actions)


def run(args: argparse.Namespace) -> int:
    if not args.make and (args.s3prl is not None or args.librimix is not None):
        raise UserError("--s3prl and --librimix are for --make, which is not given; add it or leave them out")
    needs = [need(task) for task in choose_tasks(args.tasks)]

    def stamp(root: Path) -> bool | None:
        return folder.is_sealed(root) if folder.is_ours(root) else None

    if args.make:
        sources = find_sources(args.s3prl, args.librimix, _pronounce)
        for wanted in needs:
            if any(stamp(root) is not None for root in wanted.roots):
                continue  # SUPERB's lists do not fit a synthetic corpus; `gendistiller corpus` writes its own
            for line in make(wanted, sources, progress=not args.no_progress):
                print(line)
    shelf = Shelf(sample=0 if args.no_durations else None, progress=not args.no_progress)
    reports = [
        check(wanted, shelf, stamp).with_problems(content_faults(wanted, lambda audio: shelf.audio(audio).files))
        for wanted in needs
    ]
    print(table(reports))
    looked, there = shelf.counts()
    print(f"read: header, first and last samples of {looked:,} of {there:,} audio files, and all lists")
    for report in reports:
        for line in shortened(report.problems, _LISTED):
            print(f"{report.need.task.name}: {line}")
    lacking = [report.need.task.name for report in reports if not report.audible and report.state != SYNTHETIC]
    if lacking:
        command = f"gendistiller data sources --tasks {' '.join(lacking)}"
        print(f"`{command}` prints where these corpora come from, their checksums, and the steps to this layout")
    return 2 if any(report.missing for report in reports) else 0


def table(reports: Sequence[Report]) -> str:
    rows = [["task", "corpus", "state", "files", "hours", "expected", "what to do"]]
    for report in reports:
        task = report.need.task
        hours = "" if report.hours is None else f"{report.hours:.2f}"
        files = f"{report.files:,}" if report.files else ""
        row = [task.name.upper(), task.corpus.name, report.state, files, hours, _expected(report), _to_do(report)]
        rows.append(row)
    return markdown(rows)


def _expected(report: Report) -> str:
    """Published files and hours of the audio; without them, the published number of listed files."""
    amounts = [audio.amount for audio in report.need.audio if audio.amount is not None]
    if not amounts:
        rows = [listing.rows for listing in report.need.listings if listing.rows is not None and not listing.overlaps]
        return f"{sum(rows):,} listed" if rows else ""
    files = f"{sum(amount.files for amount in amounts):,} files"
    hours = [amount.hours for amount in amounts]
    return files if None in hours else f"{files}, {sum(hour or 0 for hour in hours):g} h"


def _to_do(report: Report) -> str:
    source = report.need.task.corpus.source
    size = f", {total} of archives" if (total := total_in_words(source)) else ""
    whole = {SYNTHETIC: "nothing; this is a synthetic corpus", COMPLETE: "", ABSENT: f"get {source.where}{size}"}
    if report.state in whole:
        return whole[report.state]
    steps = [] if report.audible else [f"get the rest of {source.where}"]
    return ", ".join([*steps, *(["--make"] if report.makeable else []), "see below"])


def _pronounce(words: Iterable[str]) -> Mapping[str, str]:
    try:
        return pronunciations(Espeak(), words)
    except ValueError as error:
        raise UserError(f"espeak-ng cannot pronounce all words that the lexicon lacks: {error}") from error

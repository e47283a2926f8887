"""`gendistiller data`: checks SUPERB's corpora under SUPERB_DATA, and writes the lists that s3prl needs for them."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from s3prl_gendistiller.cli import arguments
from s3prl_gendistiller.errors import UserError, shortened
from s3prl_gendistiller.superb.tasks import TASKS, choose_tasks

if TYPE_CHECKING:
    from s3prl_gendistiller.superb.corpus.check import Report

_LISTED = 10

_DESCRIPTION = """\
Compare the files under SUPERB_DATA with what each task's configuration and s3prl's loaders read, and with the
published size of each corpus: audio files, hours, rate and channels (from the headers, with the first and the last
samples), label files line by line, and the audio files that the labels name.
A small corpus of `gendistiller corpus` is called synthetic, not incomplete. Exit status 2 if a task cannot be run.

--make writes lists that follow from the corpora and overwrites no file: LibriSpeech's len_for_bucket lists (ASR) and
lexicon.txt (PR), the Kaldi tables of Libri2Mix (SD), the fold lists of IEMOCAP (ER). Lists that SUPERB takes from a git
checkout of s3prl (SID, ASV) are copied from there. What a synthetic corpus lacks, `gendistiller corpus` writes."""

_EXAMPLE = """\
examples:
  SUPERB_DATA=/data/corpora gendistiller data check
  gendistiller data check --tasks pr asr --make
  gendistiller data check --make --s3prl ~/s3prl --librimix ~/LibriMix"""


def add_parser(subparsers: Any) -> None:
    data = subparsers.add_parser("data", help="check SUPERB's corpora, and write what s3prl needs beside them")
    actions = data.add_subparsers(title="actions", metavar="ACTION", required=True)
    parser = actions.add_parser(
        "check",
        help="what is there, what is missing, where to get it",
        description=_DESCRIPTION,
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--tasks", metavar="TASK", nargs="+", default=["all"], help=f"of {', '.join(TASKS)}; default: all"
    )
    parser.add_argument("--make", action="store_true", help="write what is missing and can be made")
    parser.add_argument("--s3prl", metavar="DIR", type=arguments.path, help="a git checkout of s3prl, for --make")
    parser.add_argument(
        "--librimix", metavar="DIR", type=arguments.path, help="a git checkout of s3prl's LibriMix, for --make"
    )
    parser.add_argument("--no-durations", action="store_true", help="count files and read no headers")
    parser.add_argument("--no-progress", action="store_true", help="no progress bar")
    parser.set_defaults(run=run, way_on="the same command goes on from there")


def run(args: argparse.Namespace) -> int:
    from s3prl_gendistiller.corpora import folder
    from s3prl_gendistiller.superb.corpus import check as data_check
    from s3prl_gendistiller.superb.corpus import make as data_make
    from s3prl_gendistiller.superb.corpus.check import need
    from s3prl_gendistiller.superb.corpus.lists import content_faults

    if not args.make and (args.s3prl is not None or args.librimix is not None):
        raise UserError("--s3prl and --librimix are for --make, which is not given; add it or leave them out")
    needs = [need(task) for task in choose_tasks(args.tasks)]

    def stamp(root: Path) -> bool | None:
        return folder.is_sealed(root) if folder.is_ours(root) else None

    if args.make:
        sources = data_make.find_sources(args.s3prl, args.librimix, _pronounce)
        for wanted in needs:
            if any(stamp(root) is not None for root in wanted.roots):
                continue  # SUPERB's lists do not fit a synthetic corpus; `gendistiller corpus` writes its own
            for line in data_make.make(wanted, sources, progress=not args.no_progress):
                print(line)
        needs = [need(wanted.task) for wanted in needs]
    shelf = data_check.Shelf(sample=0 if args.no_durations else None, progress=not args.no_progress)
    reports = [data_check.check(wanted, shelf, stamp) for wanted in needs]
    reports = [
        report.with_problems(content_faults(report.need, lambda audio: shelf.audio(audio).files)) for report in reports
    ]
    print(table(reports))
    looked, there = shelf.counts()
    print(f"read: header, first and last samples of {looked:,} of {there:,} audio files, and all lists")
    for report in reports:
        for line in shortened(report.problems, _LISTED):
            print(f"{report.need.task.name}: {line}")
    return 2 if any(report.missing for report in reports) else 0


def table(reports: Sequence[Report]) -> str:
    """One row a task."""
    from s3prl_gendistiller.superb.suite.table import markdown

    rows = [["task", "corpus", "state", "files", "hours", "expected", "what to do"]]
    for report in reports:
        hours = "" if report.hours is None else f"{report.hours:.2f}"
        files = f"{report.files:,}" if report.files else ""
        rows.append(
            [
                report.need.task.name.upper(),
                report.need.task.corpus.name,
                report.state,
                files,
                hours,
                _expected(report),
                _to_do(report),
            ]
        )
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
    if report.state == "synthetic":
        return "nothing; stands in for the real one"
    if report.state == "complete":
        return ""
    if report.state == "absent":
        return f"get {report.need.task.corpus.where}"
    steps = [] if report.audible else [f"get the rest of {report.need.task.corpus.where}"]
    return ", ".join([*steps, *(["--make"] if report.makeable else []), "see below"])


def _pronounce(words: Iterable[str]) -> Mapping[str, str]:
    from s3prl_gendistiller.corpora.espeak import Espeak
    from s3prl_gendistiller.corpora.lexicon import pronunciations

    try:
        return pronunciations(Espeak(), words)
    except ValueError as error:
        raise UserError(f"espeak-ng cannot say all words that the lexicon lacks: {error}") from error

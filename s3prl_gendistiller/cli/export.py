"""`gendistiller export`: a trained student as a folder for another program."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

from s3prl_gendistiller.cli import arguments
from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.export import EXPORT_FORMATS
from s3prl_gendistiller.export.card import Card
from s3prl_gendistiller.export.code import PART
from s3prl_gendistiller.host.students import check_steps
from s3prl_gendistiller.host.upstream_files import check_file
from s3prl_gendistiller.host.upstreams import STUDENT
from s3prl_gendistiller.outputs import check_writable
from s3prl_gendistiller.student_kinds import OWN_UPSTREAM, function
from s3prl_gendistiller.superb.cost import multiply_adds
from s3prl_gendistiller.superb.entry.from_suite import Finished, read_finished
from s3prl_gendistiller.superb.models import BenchmarkedModel, find_models
from s3prl_gendistiller.superb.tasks import TASKS

_DESCRIPTION = """\
Write a trained student as a new folder for another program, with a model card that states size, multiply-adds and, with
--suite, the scores. The folder is written whole or not at all.

formats:
{formats}"""

_EXAMPLE = """\
examples:
  gendistiller export result/pretrain/my_student exported --format transformers
  gendistiller export result/pretrain/my_student exported --format safetensors --steps 2
  gendistiller export result/pretrain/my_student exported --format transformers --suite result/superb --student mine"""


def add_parser(subparsers: Any) -> None:
    about = "write a student for transformers and other programs"
    formats = "\n".join(f"  {name:<14}{row.about}" for name, row in EXPORT_FORMATS.items())
    description = _DESCRIPTION.format(formats=formats)
    parser = arguments.add_command(subparsers, "export", run, about, description, _EXAMPLE)
    add = parser.add_argument
    add("checkpoint", metavar="CHECKPOINT", type=arguments.text, help="checkpoint of the student, or its run folder")
    add("out", metavar="OUT", type=arguments.path, help="new folder")
    add("--format", required=True, choices=list(EXPORT_FORMATS), help="what the folder is for")
    add("--steps", metavar="K", type=arguments.whole, help="number of layers that are generated; default: all")
    recordings = "folder with recordings of speech, from which a format of whole numbers takes its ranges"
    add("--calibration", metavar="DIR", type=arguments.path, help=recordings)
    add("--suite", metavar="DIR", type=arguments.path, help="folder of `gendistiller superb`, for the scores")
    add("--student", metavar="NAME", type=arguments.text, help="the student's name in that suite")


def run(args: argparse.Namespace) -> int:
    row = EXPORT_FORMATS[args.format]
    if row.calibrated != (args.calibration is not None):
        needs = "found nothing, expected a folder with recordings" if row.calibrated else "found"
        raise UserError(f"--calibration: {needs} with --format {args.format}; " + _calibration_remedy(row.calibrated))
    if args.student is not None and args.suite is None:
        raise UserError("--student: found without --suite, to which it belongs; leave it out")
    check_new(args.out, "OUT")
    finished = None if args.suite is None else read_finished(args.suite, args.student)
    student = chosen(args.checkpoint, "CHECKPOINT", args.steps, finished, "name another place")
    extra = {"calibration": args.calibration} if row.calibrated else {}
    write(args.format, args.out, student, finished, **extra)
    return 0


def _calibration_remedy(needed: bool) -> str:
    return "add --calibration DIR" if needed else "leave it out: this format takes no ranges"


def check_new(folder: Path, flag: str) -> None:
    """UserError if the folder that `flag` names exists, or if nothing can be written there."""
    if folder.exists() or folder.is_symlink():
        raise UserError(f"{flag} {folder}: already there; give a new folder")
    check_writable(folder, flag, folder=True)


def chosen(
    checkpoint: str | None, flag: str, steps: int | None, finished: Finished | None, remedy: str
) -> BenchmarkedModel:
    """The student to export: that of a checkpoint, or that of a suite, of which it then has to be.

    Args:
        checkpoint: a checkpoint or the folder of a run, which `flag` names; None: as in the suite.
        remedy: what to do where there is no checkpoint of a student.

    Raises:
        UserError: there is no student, it is no student of this package, or it generates fewer layers.
    """
    if checkpoint is not None and Path(checkpoint).is_file():
        check_file(OWN_UPSTREAM, checkpoint, replace(STUDENT, checkpoint=flag))
    student = None if finished is None else finished.student
    if checkpoint is not None:
        named = find_models([f"student={checkpoint}"])[0]
        student = named if student is None else replace(student, checkpoint=named.checkpoint)
    if student is None:
        raise UserError(f"{flag}: found no student; {remedy}")
    if steps is not None:
        student = replace(student, steps=steps)
    if student.checkpoint is None or not student.checkpoint.is_file():
        raise UserError(
            f"{flag}: found {student.checkpoint or student.upstream} as {student.name}, expected the checkpoint "
            f"of a student or the folder of its run; {remedy}"
        )
    check_steps(student.steps, student.checkpoint)
    if finished is not None:
        replace(finished, student=student).check_student()
    return student


def write(form: str, folder: Path, student: BenchmarkedModel, finished: Finished | None, **extra: Any) -> None:
    """Writes a student in a format, and prints what was written and the student's cost."""
    parameters, gmacs_per_s = multiply_adds.size(student)
    card = Card(folder.resolve().name, parameters, gmacs_per_s, multiply_adds.SECONDS, *_scores(finished))
    files = function(EXPORT_FORMATS[form].write)(student.checkpoint, folder, card, student.steps, **extra)
    named = [str(path) for path in files if len(path.parts) == 1 and not path.name.startswith(PART)]
    print(f"{folder}: {', '.join(named)}{' and the modules' if len(named) < len(files) else ''}")
    print(f"{parameters:,} parameters, {gmacs_per_s:.3f} G multiply-adds per second of audio")


def _scores(finished: Finished | None) -> tuple[list[tuple[str, str, str]], str, bool]:
    """Rows of the card's table, the settings of the runs in words, and whether these settings are SUPERB's."""
    if finished is None:
        return [], "", False
    rows = [
        (TASKS[task].title, metric.label, f"{values[metric.key]:.2f}")
        for task, values in finished.values.items()
        for metric in TASKS[task].metrics
    ]
    official = finished.preset == "official"
    purpose = "SUPERB's public set with a tenth of the steps" if finished.preset == "mini" else "made for small corpora"
    own = f"The configurations '{finished.preset}' of s3prl-gendistiller, {purpose}: no SUPERB numbers"
    settings = "SUPERB's public set at its published settings" if official else own
    features = {"weighted": "weighted sum of the hidden states", "last": "last hidden state"}[finished.features]
    score = "" if finished.score is None else f" Score {finished.score:.0f}."
    return rows, f"{settings}; {features}.{score}", official

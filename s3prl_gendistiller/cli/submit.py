"""`gendistiller submit`: the files for SUPERB's leaderboard, from finished experiments and a trained student."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from s3prl_gendistiller.cli import arguments, export
from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.outputs import check_writable
from s3prl_gendistiller.superb.entry.archive import (
    ARCHIVE,
    Checked,
    check_submissions,
    fold_folders,
    known_submissions,
    pack,
)
from s3prl_gendistiller.superb.entry.from_suite import Finished, read_finished
from s3prl_gendistiller.superb.tasks import TASKS, choose_tasks

SUBMISSION = Path("result/submission")
HUB_FOLDER = "--hub-folder"
WITH_FOLDS = [task for task in TASKS.values() if task.folds]

_DESCRIPTION = """\
Pack predict.zip for the leaderboard's public set, as s3prl's submit.py does, from a suite of `gendistiller superb` or
from experiment folders of s3prl. Everything is checked first: files, lines, ids and their order, scores, the five
folds. With --hub-folder, write instead (or with --out: as well) the folder of the student that s3prl loads for the
hidden set: run_downstream.py --hub huggingface."""

_EXAMPLE = """\
examples:
  gendistiller submit result/superb --student mine               # writes result/submission/predict.zip
  gendistiller submit result/superb --student mine --tasks pr ks # these tasks only
  gendistiller submit --asr result/downstream/my_asr --er result/downstream/my_er_*
  gendistiller submit result/superb --student mine --hub-folder my-student
  gendistiller submit --checkpoint result/pretrain/my_student --hub-folder my-student

All flags of s3prl's submit.py are understood too (--asr_no_lm, --er_fold1, --sv, --output_dir, ...)."""


def add_parser(subparsers: Any) -> None:
    about = "pack predictions and student for SUPERB's leaderboard"
    parser = arguments.add_command(subparsers, "submit", run, about, _DESCRIPTION, _EXAMPLE)
    add = parser.add_argument
    add("suite", nargs="?", type=arguments.path, help="folder of `gendistiller superb`, or its results.json")
    add("--student", metavar="NAME", type=arguments.text, help="a student of the suite")
    add("--tasks", metavar="TASK", nargs="+", help="tasks of the suite; default: all")
    out = f"folder for predict.zip; default: {SUBMISSION}"
    add("--out", "--output_dir", metavar="DIR", type=arguments.path, help=out)
    add(HUB_FOLDER, metavar="DIR", type=arguments.path, help="new folder for the student as an upstream")
    checkpoint = "checkpoint of the student, or its run folder; default: as in the suite"
    add("--checkpoint", metavar="PATH", type=arguments.text, help=checkpoint)
    add("--steps", metavar="K", type=arguments.whole, help="number of layers that the upstream generates; default: all")
    folders = parser.add_argument_group("experiment folders", "in place of folders of the suite, or beside them")
    for task in WITH_FOLDS:
        count = f"the {len(task.submissions)} folds, in any order"
        folders.add_argument(f"--{task.name}", metavar="DIR", nargs="+", type=arguments.path, help=count)
    for flag, (_, submission) in known_submissions().items():
        names = [f"--{submission.alias}"] if submission.alias else []
        shown = argparse.SUPPRESS if submission.fold else f"holds {submission.source}"
        folders.add_argument(*names, f"--{flag}", metavar="DIR", type=arguments.path, dest=flag, help=shown)


def run(args: argparse.Namespace) -> int:
    given, problems = _given(args)
    if args.suite is None:
        _refuse(args, ("student", "tasks"), "the folder of a suite")
    finished = None if args.suite is None else read_finished(args.suite, args.student)
    hub: Path | None = args.hub_folder
    if finished is None and not given and not problems and hub is None:
        raise UserError("found no experiment; give the folder of a suite, or folders such as --asr DIR; see --help")
    if hub is None:
        _refuse(args, ("checkpoint", "steps"), HUB_FOLDER)
    else:
        export.check_new(hub, HUB_FOLDER)
    out = args.out or SUBMISSION
    check_writable(out / ARCHIVE, "--out", folder=False)
    student = None
    if hub is not None:
        flag = HUB_FOLDER if args.checkpoint is None else "--checkpoint"
        remedy = "name it with --checkpoint, or give a suite and --student"
        student = export.chosen(args.checkpoint, flag, args.steps, finished, remedy)
    if given or problems or args.out is not None or hub is None:
        checked = _checked(args, finished, given, problems)
        packed = {found.task.name for found in checked if not found.submission.optional}
        absent = ", ".join(task.upper() for task in TASKS if task not in packed)
        missing = f"without {absent}, which the leaderboard will not show" if absent else "all ten tasks"
        print("\n".join([*map(str, checked), missing, str(pack(checked, out))]))
    if hub is not None and student is not None:
        export.write("hub", hub, student, finished)
    return 0


def _given(args: argparse.Namespace) -> tuple[dict[str, Path], list[str]]:
    """Folders of the command line by flag of s3prl's packer, and problems of the folders of folds."""
    given = {flag: getattr(args, flag) for flag in known_submissions() if getattr(args, flag) is not None}
    problems: list[str] = []
    for task in WITH_FOLDS:
        if getattr(args, task.name) is None:
            continue
        flags = [one.flag for one in task.submissions]
        if given.keys() & {*flags}:
            raise UserError(
                f"--{task.name}: found together with one of --{flags[0]} to --{flags[-1]}; give one form of them"
            )
        folds, wrong = fold_folders(task, getattr(args, task.name))
        given |= folds
        problems += wrong
    return given, problems


def _refuse(args: argparse.Namespace, names: Sequence[str], other: str) -> None:
    for name in names:
        if getattr(args, name) is not None:
            raise UserError(f"--{name}: found without {other}, to which it belongs")


def _checked(
    args: argparse.Namespace, finished: Finished | None, given: dict[str, Path], problems: list[str]
) -> list[Checked]:
    known = known_submissions()
    replaced = {known[flag][0].name for flag in given if not known[flag][1].optional}
    replaced |= {task.name for task in WITH_FOLDS if getattr(args, task.name) is not None}
    folders: dict[str, Path] = {}
    if finished is not None:
        asked = _tasks(args.tasks or ["all"], finished)
        folders, wrong = finished.submitted([task for task in asked if task not in replaced])
        problems = [*problems, *wrong]
    if not folders and not given and not problems:
        raise UserError("found no finished experiment to pack; give a suite with results, or folders such as --asr DIR")
    return check_submissions({**folders, **given}, problems)


def _tasks(asked: Sequence[str], finished: Finished) -> list[str]:
    names = [task.name for task in choose_tasks(asked)]
    missing = [name for name in names if name not in finished.folders]
    if missing and "all" not in asked:
        raise UserError(f"--tasks: {', '.join(missing)} has no result of {finished.student.name} in this suite")
    return [name for name in names if name not in missing]

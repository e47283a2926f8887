"""The leaderboard's submission for the public set: predict.zip, checked before it is packed.

The model is s3prl's packer (s3prl/submit/submit.py of its git repository, which its package lacks; described in
s3prl/downstream/docs/superb.md). The packer takes one experiment folder for each of its flags (`Submission.flag`), all
optional, and --output_dir. From each folder the packer copies one file (for sd a folder, and frame_shift if present)
under another name into OUTPUT_DIR/predict/NAME_public/, and zips that folder as predict.zip, with entries for folders.
The packer checks only that the file exists. The leaderboard shows the tasks that are submitted; ER only with all five
folds. The packer's flags --se, --st and --ss belong to tasks beyond SUPERB's ten and are not supported here.
"""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from s3prl_gendistiller.documents import read_yaml
from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.host.soft_labels import SECTION
from s3prl_gendistiller.outputs import replacing
from s3prl_gendistiller.superb.entry.expected import config_files, differences, expected
from s3prl_gendistiller.superb.tasks import TASKS, Task
from s3prl_gendistiller.superb.tasks.predictions import Expected, Submission

ARCHIVE, TOP = "predict.zip", "predict"
_DATE = (1980, 1, 1, 0, 0, 0)  # the earliest date of a zip, so that equal predictions give equal bytes


def known_submissions() -> dict[str, tuple[Task, Submission]]:
    """The parts that an archive may have, by the flag of s3prl's packer."""
    return {one.flag: (task, one) for task in TASKS.values() for one in task.submissions}


@dataclass(frozen=True)
class Checked:
    """A submission that may be packed.

    Attributes:
        count: number of predictions.
        compared: the files whose ids were compared with those of the submission.
        uncompared: the reason why the ids were not compared with the corpus; empty if they were.
        files: name in the archive -> file.
    """

    task: Task
    submission: Submission
    count: int
    compared: Sequence[str]
    uncompared: str
    files: Mapping[str, Path] = field(repr=False)

    def __str__(self) -> str:
        words = f"{self.submission.folder}: {self.count} predictions"
        if self.compared:
            words += f", ids as in {' and '.join(self.compared)}"
        return words + (f"; ids not compared with the corpus: {self.uncompared}" if self.uncompared else "")


def fold_folders(task: Task, folders: Sequence[Path]) -> tuple[dict[str, Path], list[str]]:
    """A task's experiment folders by flag, each fold found by its predictions, and their problems."""
    folds = task.submissions
    held = {one: [folder for folder in folders if (folder / one.source).is_file()] for one in folds}
    where = ", ".join(map(str, folders))
    missing = [f"{one.fold} is missing: no {one.source} in {where}" for one, found in held.items() if not found]
    problems = [f"{task.name}: fold {one}; {_all_folds(task)}" for one in missing]
    repeated = {one.fold: " and in ".join(map(str, found)) for one, found in held.items() if len(found) > 1}
    problems += [f"{task.name}: fold {fold} is in {places}" for fold, places in repeated.items()]
    return {one.flag: found[0] for one, found in held.items() if found}, problems


def check_submissions(folders: Mapping[str, Path], problems: Sequence[str] = ()) -> list[Checked]:
    """The checked submissions; a UserError lists all problems of all submissions.

    Args:
        folders: flag of s3prl's packer -> experiment folder.
        problems: the problems that are already known.
    """
    lines = list(problems)
    for task in TASKS.values():
        missing = [one.fold for one in task.submissions if one.fold and one.flag not in folders]
        known = any(line.startswith(f"{task.name}: ") for line in lines)
        if 0 < len(missing) < len(task.submissions) and not known:
            lines.append(f"{task.name}: fold {', '.join(missing)} is missing; {_all_folds(task)}")
    checked = []
    for flag, (task, submission) in known_submissions().items():
        if flag in folders:
            found, wrong = _check(task, submission, folders[flag])
            checked.append(found)
            lines += [f"{submission.folder}: {folders[flag] / submission.source}: {problem}" for problem in wrong]
    if lines:
        count = f"{len(lines)} problem" + ("s" if len(lines) > 1 else "")
        raise UserError("\n  ".join([f"nothing was packed; {count}:", *lines]))
    return checked


def _all_folds(task: Task) -> str:
    return f"{task.name.upper()} is scored with all {len(task.submissions)} folds only"


def pack(checked: Sequence[Checked], folder: Path) -> Path:
    """Writes predict.zip into `folder`, whole or not at all.

    Raises:
        UserError: predict.zip cannot be written, or the present predict.zip holds parts that the new one would lack.
    """
    path = folder / ARCHIVE
    if lost := sorted(_packed(path) - {one.submission.folder for one in checked}):
        more = f"{', '.join(lost)} as well, which these {len(checked)} parts lack"
        raise UserError(f"{path}: holds {more}; give another --out, or remove that file")
    files = {name: file for one in checked for name, file in one.files.items()}
    parents = {f"{parent.as_posix()}/" for name in files for parent in Path(name).parents if parent != Path()}
    with replacing(path) as partial, zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted([*files, *parents]):
            info = zipfile.ZipInfo(name, _DATE)
            info.compress_type = zipfile.ZIP_STORED if name in parents else zipfile.ZIP_DEFLATED
            info.external_attr = (0o40755 << 16 | 0x10) if name in parents else 0o100644 << 16
            if name in parents:
                archive.writestr(info, b"")
                continue
            with files[name].open("rb") as source, archive.open(info, "w", force_zip64=True) as target:
                shutil.copyfileobj(source, target)
    return path


def _packed(path: Path) -> set[str]:
    try:
        with zipfile.ZipFile(path) as archive:
            names = [Path(name).parts for name in archive.namelist()]
    except (OSError, ValueError, zipfile.BadZipFile):
        return set()
    return {name[1] for name in names if len(name) > 2 and name[0] == TOP}


def _check(task: Task, submission: Submission, folder: Path) -> tuple[Checked, list[str]]:
    found = submission.read(folder / submission.source)
    problems = [*found.problems, *_of_soft_labels(folder)]
    compared, uncompared = [], ""
    if not problems:
        truth = folder / submission.truth
        answers = submission.read(truth).ids if submission.truth and truth.is_file() else []
        if answers:
            compared.append(submission.truth)
            problems += differences(found, Expected(Path(submission.truth), answers))
        wanted, uncompared = _wanted(task, submission, folder)
        if wanted is not None:
            compared.append(str(wanted.source))
            problems += differences(found, wanted)
    checked = Checked(task, submission, len(found.ids), compared, uncompared, _files(submission, folder))
    return checked, problems


def _of_soft_labels(folder: Path) -> list[str]:
    """A problem where the head was trained on another model's predictions, which is no entry of SUPERB."""
    for path in config_files(folder):
        try:
            soft_labels = (read_yaml(path).get("downstream_expert") or {}).get(SECTION)
        except UserError:
            continue
        if soft_labels:
            found = f"was trained on a teacher's soft labels ({path.name} has downstream_expert.{SECTION})"
            return [f"{folder}: {found}, expected a run of the task itself, with labels"]
    return []


def _wanted(task: Task, submission: Submission, folder: Path) -> tuple[Expected | None, str]:
    """The expected ids from the corpus; or None, with the reason."""
    reason = "its folder holds no configuration (config_resolved.yaml or s3prl's config_*.yaml)"
    for path in config_files(folder):
        try:
            return expected(task, read_yaml(path), submission.fold), ""
        except UserError as error:
            reason = str(error)
    return None, reason


def _files(submission: Submission, folder: Path) -> dict[str, Path]:
    top, source = f"{TOP}/{submission.folder}", folder / submission.source
    files = {f"{top}/{submission.target}": source}
    if source.is_dir():
        files = {f"{top}/{submission.target}/{path.name}": path for path in source.iterdir() if path.is_file()}
    return files | {f"{top}/{name}": folder / name for name in submission.beside}

"""The leaderboard's submission for the public set: predict.zip, checked before it is packed.

What s3prl's packer does (s3prl/submit/submit.py of its git repository, which its package lacks; described in
s3prl/downstream/docs/superb.md): it takes one experiment folder for each of --pr --sid --ks --ic --er_fold1 to
--er_fold5 --asr_no_lm --asr_with_lm --qbe --sf --sv --sd --se --st --ss, all of them optional, and --output_dir. From
each folder it copies one file (for sd a folder, and frame_shift if it is there) under another name into
OUTPUT_DIR/predict/NAME_public/, and zips that folder as predict.zip, with entries for folders. It checks that the file
exists and nothing else. `PARTS` is its list. The leaderboard shows the tasks that are submitted; ER only with all five
folds.
"""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from s3prl_gendistiller.documents import read_yaml
from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.host.soft_labels import SECTION
from s3prl_gendistiller.outputs import replacing
from s3prl_gendistiller.superb.entry.expected import Expected, NotAtHand, config_files, expected
from s3prl_gendistiller.superb.entry.predictions import FRAME_SHIFT, differences, read_ids, read_predictions
from s3prl_gendistiller.superb.tasks import TASKS, require_packages

ARCHIVE, TOP = "predict.zip", "predict"
FOLDS = tuple(range(1, 6))
_DATE = (1980, 1, 1, 0, 0, 0)  # the earliest that a zip holds: the same predictions are the same bytes


@dataclass(frozen=True)
class Part:
    """One folder below predict/.

    Attributes:
        flag: of s3prl's packer, without dashes.
        source: what the task's expert writes into its experiment folder.
        target: its name in the archive.
        form: how it is written, see `predictions`.
        truth: of the same form, with the true answers in the same order, written beside it; "" for none.
        task: the task's name here; "" for one that is none of SUPERB's ten.
    """

    flag: str
    source: str
    target: str
    form: str
    truth: str = ""
    task: str = ""

    @property
    def name(self) -> str:
        """Of the folder in the archive."""
        return {"asr_no_lm": "asr", "asr_with_lm": "asr_lm"}.get(self.flag, self.flag) + "_public"


def _folds() -> Iterator[Part]:
    for fold in FOLDS:
        name = f"test_fold{fold}"
        yield Part(f"er_fold{fold}", f"{name}_predict.txt", "predict.txt", "label", f"{name}_truth.txt", "er")


PARTS = (
    Part("pr", "test-hyp.ark", "predict.ark", "text", "test-ref.ark", "pr"),
    Part("sid", "test_predict.txt", "predict.txt", "label", "test_truth.txt", "sid"),
    Part("ks", "test_predict.txt", "predict.txt", "label", "test_truth.txt", "ks"),
    Part("ic", "test_predict.csv", "predict.csv", "slots", "test_truth.csv", "ic"),
    *_folds(),
    Part("asr_no_lm", "test-clean-noLM-hyp.ark", "predict.ark", "text", "test-clean-noLM-ref.ark", "asr"),
    Part("asr_with_lm", "test-clean-LM-hyp.ark", "predict.ark", "text", "test-clean-LM-ref.ark"),
    Part("qbe", "benchmark.stdlist.xml", "benchmark.stdlist.xml", "stdlist", "", "qbe"),
    Part("sf", "test-hyp.ark", "predict.ark", "text", "test-ref.ark", "sf"),
    Part("sv", "test_predict.txt", "predict.txt", "score", "", "asv"),
    Part("sd", "scoring/predictions", "scoring/predictions", "frames", "", "sd"),
    Part("se", "test_metrics.txt", "metrics.txt", "metric"),
    Part("st", "output-st-test.tsv", "predict.tsv", "row"),
    Part("ss", "test_metrics.txt", "metrics.txt", "metric"),
)
BY_FLAG = {part.flag: part for part in PARTS}


@dataclass(frozen=True)
class Checked:
    """A part that may be packed.

    Attributes:
        count: of its predictions.
        compared: with what its ids were compared.
        uncompared: why they were not compared with the corpus; "" if they were.
        files: name in the archive -> file.
    """

    part: Part
    count: int
    compared: Sequence[str]
    uncompared: str
    files: Mapping[str, Path] = field(repr=False)

    def __str__(self) -> str:
        said = f"{self.part.name}: {self.count} predictions"
        if self.compared:
            said += f", ids as in {' and '.join(self.compared)}"
        return said + (f"; ids not compared with the corpus: {self.uncompared}" if self.uncompared else "")


def er_folders(folders: Sequence[Path]) -> tuple[dict[str, Path], list[str]]:
    """ER's experiment folders by flag, each fold told by its predictions, and what is wrong with them."""
    held = {fold: [folder for folder in folders if (folder / _of_fold(fold).source).is_file()] for fold in FOLDS}
    problems = [
        f"er: fold {fold} is missing: no {_of_fold(fold).source} in {', '.join(map(str, folders))}; ER is scored with "
        "all five folds only"
        for fold, found in held.items()
        if not found
    ]
    twice = {fold: found for fold, found in held.items() if len(found) > 1}
    problems += [f"er: fold {fold} is in {' and in '.join(map(str, found))}" for fold, found in twice.items()]
    return {_of_fold(fold).flag: found[0] for fold, found in held.items() if found}, problems


def check_parts(folders: Mapping[str, Path], problems: Sequence[str] = ()) -> list[Checked]:
    """
    Args:
        folders: flag -> experiment folder.
        problems: known before.

    Raises:
        UserError: lists everything that is wrong with any of them.
    """
    if "sd" in folders:
        require_packages([TASKS["sd"]])
    lines = list(problems)
    missing = [fold for fold in FOLDS if _of_fold(fold).flag not in folders]
    if 0 < len(missing) < len(FOLDS) and not any(line.startswith("er: ") for line in lines):
        named = ", ".join(map(str, missing))
        lines.append(f"er: fold {named} is missing; ER is scored with all five folds only")
    checked = []
    for part in PARTS:
        if part.flag in folders:
            found, wrong = _check(part, folders[part.flag])
            checked.append(found)
            lines += [f"{part.name}: {folders[part.flag] / part.source}: {problem}" for problem in wrong]
    if lines:
        count = f"{len(lines)} problem" + ("s" if len(lines) > 1 else "")
        raise UserError("\n  ".join([f"nothing was packed; {count}:", *lines]))
    return checked


def pack(parts: Sequence[Checked], folder: Path) -> Path:
    """Writes predict.zip into `folder`, whole or not at all.

    Raises:
        UserError: it cannot be written, or the one that is there holds parts that this one would not.
    """
    path = folder / ARCHIVE
    lost = sorted(_packed(path) - {part.part.name for part in parts})
    if lost:
        raise UserError(
            f"{path}: holds {', '.join(lost)} as well, which these {len(parts)} parts lack; give another --out, or "
            "remove that file"
        )
    files = {name: file for part in parts for name, file in part.files.items()}
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
    """The parts of an archive that is there."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = [Path(name).parts for name in archive.namelist()]
    except (OSError, ValueError, zipfile.BadZipFile):
        return set()
    return {name[1] for name in names if len(name) > 2 and name[0] == TOP}


def _of_fold(fold: int) -> Part:
    return BY_FLAG[f"er_fold{fold}"]


def _check(part: Part, folder: Path) -> tuple[Checked, list[str]]:
    source = folder / part.source
    found = read_predictions(source, part.form)
    problems = [*found.problems, *_of_soft_labels(folder)]
    compared, uncompared = [], ""
    if not problems:
        truth = read_ids(folder / part.truth, part.form) if part.truth else []
        if truth:
            compared.append(part.truth)
            problems += differences(found, Expected(Path(part.truth), truth))
        wanted, uncompared = _wanted(part, folder)
        if wanted is not None:
            compared.append(str(wanted.source))
            problems += differences(found, wanted)
    return Checked(part, len(found.ids), compared, uncompared, _files(part, folder)), problems


def _of_soft_labels(folder: Path) -> list[str]:
    """A head that learned from another model's answers is no entry of SUPERB."""
    for path in config_files(folder):
        try:
            glmd = (read_yaml(path).get("downstream_expert") or {}).get(SECTION)
        except UserError:
            continue
        if glmd:
            return [
                f"{folder}: was trained on a teacher's soft labels ({path.name} has downstream_expert.{SECTION}), "
                "expected a run of the task itself, with labels"
            ]
    return []


def _wanted(part: Part, folder: Path) -> tuple[Expected | None, str]:
    """What the corpus asks for; or None, and why it is not known."""
    reason = "its folder holds no configuration (config_resolved.yaml or s3prl's config_*.yaml)"
    for path in config_files(folder):
        try:
            return expected(part.flag, read_yaml(path)), ""
        except (NotAtHand, UserError) as error:
            reason = str(error)
    return None, reason


def _files(part: Part, folder: Path) -> dict[str, Path]:
    top = f"{TOP}/{part.name}"
    if part.form != "frames":
        return {f"{top}/{part.target}": folder / part.source}
    inside = sorted(path for path in (folder / part.source).glob("*") if path.is_file())
    return {
        **{f"{top}/{part.target}/{path.name}": path for path in inside},
        f"{top}/{FRAME_SHIFT}": folder / FRAME_SHIFT,
    }

"""Manifests: s3prl's `len_for_bucket` CSV files, written for any folder of audio and read for training.

One row per audio file, longest first: an index, `file_path` (relative to a root), `length` (samples at
16 kHz) and `label` (empty). s3prl's pretrain and ASR data sets read the same files.
"""

from __future__ import annotations

import csv
import io
import os
import reprlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from s3prl_gendistiller.distill.audio import MIN_SAMPLES, SAMPLE_RATE
from s3prl_gendistiller.distill.files import csv_reader, refuse_irregular
from s3prl_gendistiller.distill.listing import Recording, librispeech_splits, list_recordings, report_bad
from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.outputs import write_texts

COLUMNS = ("", "file_path", "length", "label")
DEFAULT_FOLDER = "len_for_bucket"
_LENGTH_DIGITS = 15
_SKIP_ROWS = (
    "run `gendistiller manifest --skip-bad --overwrite`, "
    "or run_pretrain.py -o config.pretrain_expert.datarc.skip_bad=True"
)


class Utterance(NamedTuple):
    """One row of a manifest."""

    path: Path
    num_samples: int
    origin: str  # file and line that list the utterance, for messages: `train-clean-100.csv line 12`


class ManifestFile(NamedTuple):
    """One CSV file that was written."""

    path: Path
    utterances: int
    seconds: float


def write_manifest(
    audio_dir: str | Path,
    out_dir: str | Path | None,
    *,
    name: str | None = None,
    splits: Sequence[str] | None = None,
    workers: int | None = None,
    progress: bool = True,
    skip_bad: bool = False,
    left_out: Counter[str] | None = None,
) -> list[ManifestFile]:
    """Writes one CSV file for each set of audio files below `audio_dir`, after all files have been measured.

    A folder that holds LibriSpeech's split folders yields one CSV file for each split. Any other folder yields one CSV
    file of everything below it, called `name` or like the folder. With `name`, every folder yields one CSV file.

    Args:
        out_dir: None for `audio_dir/len_for_bucket`.
        splits: folders below `audio_dir` that are the sets, instead of those that are found.
        skip_bad: leave out unusable files with a warning instead of raising.
        left_out: receives the suffixes of files that do not count as audio, with their numbers.

    Raises:
        UserError: no such folder, no audio in it, or files that cannot be used.
    """
    root = Path(audio_dir)
    found = (librispeech_splits(root) if name is None else []) if splits is None else list(splits)
    folders = {split: root / split for split in found} or {name or root.resolve().name or "audio": root}
    options: dict[str, Any] = {"workers": workers, "progress": progress, "skip_bad": skip_bad, "left_out": left_out}
    listed = list_recordings(root, folders, **options)
    return write_lists(root / DEFAULT_FOLDER if out_dir is None else Path(out_dir), listed)


def write_lists(
    out: Path, sets: Mapping[str, Sequence[Recording]], others: Mapping[Path, str] | None = None
) -> list[ManifestFile]:
    """Writes one CSV file into `out` for each set that has recordings, and other texts by their paths, or nothing."""
    files = {out / f"{name}.csv": recordings for name, recordings in sets.items() if recordings}
    write_texts({**{path: _csv_text(recordings) for path, recordings in files.items()}, **(others or {})})
    return [
        ManifestFile(path, len(recordings), sum(recording.samples for recording in recordings) / SAMPLE_RATE)
        for path, recordings in files.items()
    ]


def read_manifest(csv_paths: Sequence[str | Path], root: str | Path, *, skip_bad: bool = False) -> list[Utterance]:
    """Reads manifests in the given order; no audio file is opened.

    Args:
        root: folder that `file_path` is relative to.
        skip_bad: leave out rows of missing files and of invalid lengths with a warning instead of raising.

    Raises:
        UserError: a manifest is missing, lacks a column, is empty, or has bad rows.
    """
    root = Path(root)
    if not root.is_dir():
        raise UserError(f"{root}: no such folder; expected the folder that file_path is relative to; correct the path")
    listed: list[Utterance] = []
    problems: list[str] = []
    for csv_path in csv_paths:
        _read_csv(Path(csv_path), root, listed, problems)
    total = len(listed) + len(problems)
    missing = _missing(listed)
    problems += [f"{listed[i].origin}: no such file: {listed[i].path}" for i in sorted(missing)]
    report_bad(problems, total, "manifest rows", skip_bad, _SKIP_ROWS)
    return [utterance for i, utterance in enumerate(listed) if i not in missing]


def _csv_text(recordings: Sequence[Recording]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    longest_first = sorted(recordings, key=lambda recording: (-recording.samples, recording.file_path))
    writer.writerows((i, recording.file_path, recording.samples, "") for i, recording in enumerate(longest_first))
    return text.getvalue()


def _read_csv(path: Path, root: Path, listed: list[Utterance], problems: list[str]) -> None:
    """Appends the rows of one manifest to `listed`, and those without a valid length to `problems`."""
    if path.exists():
        refuse_irregular(path, "text")
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            reader = csv_reader(path, file)
            absent = [column for column in ("file_path", "length") if column not in (reader.fieldnames or [])]
            if absent:
                raise UserError(
                    f"{path}: no column {' and no column '.join(absent)}, found "
                    f"{', '.join(reader.fieldnames or []) or 'nothing'}; expected file_path and length; "
                    "write it again with `gendistiller manifest --overwrite`"
                )
            before = len(listed) + len(problems)
            for row in reader:
                origin = f"{path.name} line {reader.line_num}"
                file_path, length = row["file_path"] or "", row["length"] or ""  # None in a row that is too short
                samples = sample_count(length)
                if file_path and samples is not None and samples >= MIN_SAMPLES:
                    listed.append(Utterance(root / file_path, samples, origin))
                else:
                    found = f"file_path {file_path!r}, length {reprlib.repr(length)}"
                    problems.append(f"{origin}: {found}; expected a path and at least {MIN_SAMPLES} samples")
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        found = "no such file" if isinstance(error, FileNotFoundError) else f"cannot be read ({error})"
        raise UserError(f"{path}: {found}; expected a manifest; run `gendistiller manifest`") from None
    if len(listed) + len(problems) == before:
        raise UserError(f"{path}: no rows; expected one per audio file; repeat `gendistiller manifest --overwrite`")


def sample_count(text: str) -> int | None:
    """Length in a manifest; None for texts, also too long ones, that pandas and C do not read as a whole number."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= _LENGTH_DIGITS else None


def _missing(utterances: Sequence[Utterance]) -> set[int]:
    """Indices of the utterances whose file is missing; every folder is listed once, and no file is opened."""
    by_folder: dict[str, list[tuple[int, str]]] = defaultdict(list)
    for i, utterance in enumerate(utterances):
        folder, name = os.path.split(utterance.path)
        by_folder[folder].append((i, name))
    missing: set[int] = set()
    for folder, entries in by_folder.items():
        try:
            present = set(os.listdir(folder or "."))
        except (FileNotFoundError, NotADirectoryError):
            present = set()
        missing |= {i for i, name in entries if name not in present}
    return missing

"""A folder of features: its settings, what is whole in it, and where each recording's features go.

``extract.json`` holds the settings. The file of a recording is written whole, so that a file that is there is whole.
The HDF5 file for all recordings is joined from such files when all are there.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from s3prl_gendistiller.documents import read_json
from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.inference.feature_files import ARRAY, FORMATS, Shape, Write, join_hdf5, names_in_hdf5
from s3prl_gendistiller.inference.recordings import Recording
from s3prl_gendistiller.outputs import PARTS, write_text

RECORD, LOCK, FAILED = "extract.json", ".extract.lock", "failed.txt"
JOINED, SINGLE = "features.h5", ".parts"


class FeatureFolder:
    """The folder `out`, which is made when the first features are written.

    Args:
        settings: all that the features depend on, as JSON; "format" is of `FORMATS`.

    Raises:
        UserError: the folder was made with other settings, holds something else, or HDF5 cannot be written.
    """

    def __init__(self, out: Path, settings: Mapping[str, Any]) -> None:
        self.out, self.settings = out, dict(settings)
        self.suffix, self._file = FORMATS[settings["format"]]
        self.joined = settings["format"] == "hdf5"
        if self.joined and find_spec("h5py") is None:
            raise UserError('--format hdf5: needs h5py; install it: pip install "s3prl-gendistiller[sd]"')
        record = out / RECORD
        if record.is_file():
            self._compare(read_json(record))
        elif out.exists() and (not out.is_dir() or any(path.name != LOCK for path in out.iterdir())):
            raise UserError(f"--out {out}: found something else there, expected a new folder or one of this command")
        self._known = names_in_hdf5(out / JOINED) if self.joined else set()

    def check_names(self, names: Iterable[str]) -> None:
        """UserError if an HDF5 cannot hold recordings of these names, because one has the place of another's array."""
        known = {*names} if self.joined else set()
        for name in known:
            above, _, last = name.rpartition("/")
            if above in known and last.startswith(ARRAY.format("")):
                raise UserError(
                    f"{name}: found a recording with the name of an array of {above}, expected another name in one "
                    "HDF5; rename the recording, or give --format safetensors"
                )

    def begin(self) -> None:
        """Writes the settings, and removes what a killed process has left; only the holder of the lock may do so."""
        for part in self.out.rglob(PARTS):
            if part.is_dir():
                shutil.rmtree(part, ignore_errors=True)
            else:
                part.unlink(missing_ok=True)
        write_text(self.out / RECORD, json.dumps(self.settings, indent=2) + "\n")

    def place(self, name: str) -> Path:
        """The file of one recording."""
        return self.out / (SINGLE if self.joined else "") / f"{name}{self.suffix}"

    def is_whole(self, recording: Recording) -> bool:
        """Whether the features of a recording are there, and not older than the recording."""
        there = [self.place(recording.name)]
        if recording.name in self._known:
            there.append(self.out / JOINED)
        try:
            changed = recording.path.stat().st_mtime_ns
        except OSError:
            return False
        return any(path.is_file() and path.stat().st_mtime_ns >= changed for path in there)

    def file(self, name: str, shape: Shape) -> AbstractContextManager[Write]:
        """A new file for one recording, which the block writes."""
        return self._file(self.place(name), shape)

    @property
    def begun(self) -> bool:
        """Whether an earlier command has written features here."""
        return (self.out / RECORD).is_file()

    @property
    def unfinished(self) -> bool:
        """Whether `finish` has something to do even where no recording is missing."""
        return bool(self.unjoined()) or (self.out / FAILED).exists()

    def unjoined(self) -> dict[str, Path]:
        """The files by recording that are not yet in the HDF5 for all, also those of a command that was stopped."""
        parts = self.out / SINGLE
        found = parts.rglob(f"*{self.suffix}") if self.joined else ()
        return {path.relative_to(parts).with_suffix("").as_posix(): path for path in sorted(found)}

    def finish(self, problems: Mapping[str, str]) -> None:
        """Joins the files of an HDF5, and lists the recordings that failed in `FAILED`.

        Features that an earlier command wrote of them are removed: the recordings have changed since.

        Args:
            problems: messages by recording.
        """
        for name in problems:
            self.place(name).unlink(missing_ok=True)
        parts, removed = self.unjoined(), self._known & problems.keys()
        if parts or removed:
            join_hdf5(self.out / JOINED, parts, removed)
            shutil.rmtree(self.out / SINGLE, ignore_errors=True)
        if problems:
            write_text(self.out / FAILED, "".join(f"{problem}\n" for problem in problems.values()))
        else:
            (self.out / FAILED).unlink(missing_ok=True)

    def _compare(self, before: Any) -> None:
        found = before if isinstance(before, Mapping) else {}
        changed = [key for key in self.settings if found.get(key) != self.settings[key]]
        if changed:
            key = changed[0]
            raise UserError(
                f"--out {self.out}: was made with another {key} (found {json.dumps(found.get(key))[:80]}, now "
                f"{json.dumps(self.settings[key])[:80]}); give another --out, or remove that folder"
            )

"""Checks of the files that the data sets of s3prl's downstream tasks read.

The data sets assume that all audio is mono at 16 kHz and that every entry of a folder is data. Each stand-in replaces a
name in a task's module. It returns the same for valid data, and raises an error that names the file for other data.
"""

from __future__ import annotations

import functools
import importlib
import io
import os
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
import soundfile
import torch

from s3prl_gendistiller.distill.audio import MIN_SAMPLES, SAMPLE_RATE, SUFFIXES
from s3prl_gendistiller.distill.files import files_below, refuse_irregular
from s3prl_gendistiller.distill.processes import end_with_parent
from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.formats.headers import too_short, wrong_form
from s3prl_gendistiller.formats.lists import full_lines
from s3prl_gendistiller.host.view import View

LISTED_SUFFIXES = (".aac", ".au", ".flac", ".m4a", ".mp3", ".ogg", ".wav")
"""Suffixes of the files that librosa's `find_files` lists."""
_LATE_S = 0.1  # tolerance in seconds: tables round durations


class Torchaudio(View):
    """torchaudio for a task that does not resample; `rate_hz` of every file, None for that of the first file."""

    def __init__(self, module: Any, rate_hz: int | None = SAMPLE_RATE) -> None:
        super().__init__(module)
        self._rate_hz = rate_hz

    def load(self, uri: str | os.PathLike[str], *arguments: Any, **options: Any) -> tuple[torch.Tensor, int]:
        """(1, S) and its rate in Hz.

        UserError: the file has another rate, several channels, less than one frame, or NaN, or is no audio.
        """
        waveform, rate_hz = _read(uri, lambda: self._module.load(uri, *arguments, **options))
        self._rate_hz = self._rate_hz or rate_hz
        check_samples(uri, waveform, rate_hz, self._rate_hz)
        return waveform, rate_hz


class Soundfile:
    """soundfile for diarization, which reads pieces of recordings at 16 kHz."""

    @staticmethod
    def read(path: str, *, start: int = 0, stop: int | None = None) -> tuple[np.ndarray, int]:
        """(S,) and its rate in Hz; UserError as `Torchaudio.load`, or if the recording ends before the piece does."""
        samples, rate_hz = _read(path, lambda: soundfile.read(path, start=start, stop=stop, always_2d=True))
        waveform = torch.from_numpy(samples.T)
        check_samples(path, waveform, rate_hz, SAMPLE_RATE, least=1)
        if stop is not None and waveform.shape[1] < stop - start - _LATE_S * SAMPLE_RATE:
            raise UserError(
                f"{path}: ends after {start + waveform.shape[1]} samples, expected {stop} by its line in reco2dur; "
                "correct that file or fetch the recording again"
            )
        return samples[:, 0], rate_hz


def checked_effects(apply: Callable[..., Any]) -> Callable[..., Any]:
    """`apply_effects_file` that names a file that it cannot read."""

    @functools.wraps(apply)
    def effects(path: str | os.PathLike[str], *arguments: Any, **options: Any) -> tuple[torch.Tensor, int]:
        waveform, rate_hz = _read(path, lambda: apply(path, *arguments, **options))
        _check_finite(path, waveform)
        return waveform, rate_hz

    return effects


def with_frames(dataset: Any) -> Any:
    """Lets a data set name a file that has less than one frame left after its silence was cut."""
    stock = dataset.__getitem__

    @functools.wraps(stock)
    def item(self: Any, index: int) -> tuple[Any, ...]:
        wav, *others = stock(self, index)
        if len(wav) < MIN_SAMPLES:
            source = getattr(self, "data", None) or self.dataset
            found = source[index][1] if isinstance(source[index], tuple) else source[index]
            raise UserError(
                f"{found}: {len(wav)} samples at 16 kHz as the task reads it, expected at least {MIN_SAMPLES} "
                "(one frame) that are not silence; remove the file from the corpus"
            )
        return wav, *others

    dataset.__getitem__ = item
    return dataset


def check_samples(
    path: str | os.PathLike[str], waveform: torch.Tensor, rate_hz: int, expected_hz: int, least: int = MIN_SAMPLES
) -> None:
    """UserError if rate, channels, length (`least` samples at 16 kHz) or values of a waveform (C, S) are wrong."""
    name, channels, samples = os.fspath(path), waveform.shape[0], waveform.shape[1]
    if rate_hz != expected_hz or channels != 1:
        raise UserError(f"{name}: {wrong_form(rate_hz, channels, expected_hz)}")
    if samples < least * rate_hz / SAMPLE_RATE:
        raise UserError(f"{name}: {too_short(samples, rate_hz)}")
    _check_finite(name, waveform)


def _check_finite(path: str | os.PathLike[str], waveform: torch.Tensor) -> None:
    if not torch.isfinite(waveform).all():
        raise UserError(f"{path}: holds NaN or infinite samples; expected finite numbers; remove the file")


class VisiblePath(type(Path())):  # type: ignore[misc]
    """A path whose `iterdir` and `glob` leave out hidden files, such as macOS's `._*`."""

    def iterdir(self) -> Iterator[Any]:
        return (path for path in super().iterdir() if not path.name.startswith("."))

    def glob(self, pattern: str, **options: Any) -> Iterator[Any]:
        """Matches with `*` as the only wildcard; a pattern without a slash ignores case."""
        literal = re.sub(r"[\[?]", r"[\g<0>]", pattern)
        if "/" not in pattern:
            literal = re.sub("[a-z]", lambda letter: f"[{letter[0]}{letter[0].upper()}]", literal)
        return (path for path in super().glob(literal, **options) if not path.name.startswith("."))


def list_recordings(path: str) -> list[str]:
    """`os.listdir` for diarization, which takes every name in a folder for a recording."""
    return [name for name in os.listdir(path) if not name.startswith(".") and name.lower().endswith(SUFFIXES)]


class NoSubprocess:
    """`subprocess` for diarization, which would run a command from wav.scp."""

    PIPE = -1

    @staticmethod
    def Popen(command: str, **options: Any) -> Any:
        raise UserError(f"wav.scp: found the command {command!r}, expected the path of a file; nothing is run")


def find_audio(directory: str | os.PathLike[str]) -> list[str]:
    """librosa's `find_files`, also for a folder whose name holds a bracket."""
    return sorted(str(path) for path in files_below(Path(os.path.abspath(directory)), LISTED_SUFFIXES))


def open_list(file: str | os.PathLike[str], mode: str = "r", *arguments: Any, **options: Any) -> IO[Any]:
    """`open`; a text file is read in UTF-8, without a byte order mark and without empty lines."""
    if mode != "r" or not isinstance(file, str | os.PathLike):
        return open(file, mode, *arguments, **options)  # noqa: SIM115
    return io.StringIO("".join(full_lines(Path(file))))


def _read(path: str | os.PathLike[str], read: Callable[[], tuple[Any, int]]) -> tuple[Any, int]:
    if isinstance(path, str | os.PathLike):
        refuse_irregular(path, "audio")
    try:
        return read()
    except UserError:
        raise
    except (RuntimeError, OSError, ValueError) as error:  # errors of libsndfile and of torchaudio's own readers
        raise UserError(f"{path}: cannot be read as audio ({error}); fetch it again or remove it") from error


Place = Mapping[str, Callable[[Any], Any]]
"""Names in a module, each with a function from the present object to its stand-in."""

_AUDIO: Place = {"torchaudio": Torchaudio}
_EFFECTS: Place = {"apply_effects_file": checked_effects}
_LISTS: Place = {"open": lambda stock: open_list}
_FOLDERS: Place = {"Path": lambda stock: VisiblePath}
_PLACES: Mapping[str, Mapping[str, Place]] = {
    "asr": {"dataset": {**_AUDIO, **_LISTS}},
    "ctc": {"data": _AUDIO},
    "speech_commands": {
        "dataset": {**_EFFECTS, **_FOLDERS, "SpeechCommandsBaseDataset": with_frames},
        "expert": _FOLDERS,
    },
    "quesst14_dtw": {
        "dataset": {**_EFFECTS, **_LISTS, "QUESST14Dataset": with_frames},
        "expert": {"ProcessPoolExecutor": lambda stock: functools.partial(stock, initializer=end_with_parent)},
    },
    "voxceleb1": {"dataset": {**_AUDIO, **_LISTS}, "expert": _FOLDERS},
    "sv_voxceleb1": {
        "dataset": {
            **_EFFECTS,
            **_LISTS,
            **_FOLDERS,
            "find_files": lambda stock: find_audio,
            "SpeakerVerifi_train": with_frames,
            "SpeakerVerifi_test": with_frames,
        }
    },
    "diarization": {
        "dataset": {
            **_LISTS,
            "sf": lambda stock: Soundfile,
            "os": lambda stock: View(os, listdir=list_recordings),
            "subprocess": lambda stock: NoSubprocess,
        }
    },
    "fluent_commands": {"dataset": _AUDIO},
    "emotion": {"dataset": {**_LISTS, "torchaudio": lambda stock: Torchaudio(stock, None)}},
}


@functools.cache
def supply(package: str, downstream: str) -> None:
    """Puts the stand-ins into the modules of s3prl's task `downstream`, whose package is `package`."""
    for name, place in _PLACES.get(downstream, {}).items():
        module = importlib.import_module(f"{package}.{name}")
        for key, make in place.items():
            setattr(module, key, make(getattr(module, key, None)))

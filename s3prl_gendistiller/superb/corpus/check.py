"""Compares the folder SUPERB_DATA with what SUPERB's tasks read and with the published sizes of their corpora."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from s3prl_gendistiller.distill.audio import MIN_SAMPLES, SAMPLE_RATE
from s3prl_gendistiller.distill.files import files_below, of_each_file
from s3prl_gendistiller.errors import few
from s3prl_gendistiller.formats.headers import Header, read_header, too_short, wrong_form
from s3prl_gendistiller.host.paths import expand_tree
from s3prl_gendistiller.schema import read_layered_yaml
from s3prl_gendistiller.shipped import shipped_folder
from s3prl_gendistiller.superb.corpus.lists import REPEAT, listing_faults, missing_lists
from s3prl_gendistiller.superb.corpus.sizes import HOUR_S, Amount
from s3prl_gendistiller.superb.tasks import Task
from s3prl_gendistiller.superb.tasks.needs import ALIKE, ANY, AudioFolder, Need, fault

COMPLETE, INCOMPLETE, ABSENT, SYNTHETIC = "complete", "incomplete", "absent", "synthetic"
Stamp = Callable[[Path], bool | None]
"""A function of a corpus folder: True if `gendistiller corpus` finished the folder, False if not, None for a corpus of
another origin."""
_HOURS_OFF = 0.02


def need(task: Task) -> Need:
    """Audio and lists that the task's official configuration reads; UserError if SUPERB_DATA is not set."""
    file = shipped_folder("downstream_runs") / task.config("official")
    content = expand_tree(read_layered_yaml(file), "", here=file.parent, must_exist=False)
    return task.need(content["downstream_expert"])


@dataclass(frozen=True)
class Report:
    """The state of one task's data.

    Attributes:
        state: `COMPLETE`, `INCOMPLETE`, `ABSENT` or `SYNTHETIC`.
        files: number of audio files.
        hours: hours of audio; None if not all headers were read.
        makeable: whether ``--make`` may solve some of the problems.
        audible: whether all audio is there.
    """

    need: Need
    state: str
    files: int
    hours: float | None
    problems: tuple[str, ...]
    makeable: bool = False
    audible: bool = False

    @property
    def missing(self) -> bool:
        """Whether the task cannot be run as it is."""
        return self.state in (INCOMPLETE, ABSENT)

    def with_problems(self, more: Iterable[str]) -> Report:
        """This report with other problems in front; an absent corpus gets none."""
        problems = (*(problem for problem in more if problem not in self.problems), *self.problems)
        if self.state == ABSENT or len(problems) == len(self.problems):
            return self
        return replace(self, state=INCOMPLETE, problems=problems)


class AudioFiles(NamedTuple):
    """The audio files of a folder, and the headers of those that were read."""

    files: tuple[Path, ...]
    headers: Mapping[Path, Header]

    @property
    def seconds(self) -> float | None:
        """The length of all files; None if not all headers were read."""
        if len(self.headers) < len(self.files):
            return None
        return sum(header.frames / header.rate_hz for header in self.headers.values())


class Shelf:
    """Reads the audio of each folder once for all tasks that share the folder.

    Args:
        sample: the number of files of a folder, at even distances, whose headers are read; None for all.
    """

    def __init__(self, *, sample: int | None = None, progress: bool = True) -> None:
        self._sample = sample
        self._progress = progress
        self._found: dict[tuple[Path, str, tuple[str, ...]], AudioFiles] = {}

    def audio(self, audio: AudioFolder) -> AudioFiles:
        key = (audio.folder, audio.suffix, audio.beginnings)
        if key not in self._found:
            files = tuple(files_below(*key))
            count = len(files) if self._sample is None else min(self._sample, len(files))
            chosen = [files[i * (len(files) - 1) // max(1, count - 1)] for i in range(count)]
            progress = self._progress and bool(chosen)
            headers = of_each_file(chosen, read_header, workers=None, description=audio.name, progress=progress)
            self._found[key] = AudioFiles(files, dict(zip(chosen, headers, strict=True)))
        return self._found[key]

    def counts(self) -> tuple[int, int]:
        """The number of files whose headers were read, and the number of all files."""
        found = self._found.values()
        return sum(len(audio.headers) for audio in found), sum(len(audio.files) for audio in found)


def check(need: Need, shelf: Shelf, stamp: Stamp) -> Report:
    """The state of the data that a task reads."""
    there = [root for root in need.roots if root.is_dir()]
    if not there:
        return Report(need, ABSENT, 0, None, (f"{few(need.roots)}: not there",))
    found = {audio.name: shelf.audio(audio) for audio in need.audio}
    stamps = [stamp(root) for root in there]
    ours = None not in stamps
    whole = zip(there, stamps, strict=True)
    unfinished = [f"{root}: not finished; {REPEAT}" for root, finished in whole if finished is False]
    common_hz = rate_of(found.values())
    inaudible: list[str] = []
    for audio in need.audio:
        inaudible += _folder_faults(audio, found[audio.name], None if ours else audio.amount, common_hz)
    present = {str(file) for audio in found.values() for file in audio.files}
    absent = [listing for listing in need.listings if not listing.path.exists()]
    unlisted = list(missing_lists(absent, ours=ours))
    for listing in need.listings:
        if listing not in absent:
            unlisted += listing_faults(listing, present, compared=not ours, config=need.config)
    seconds = [audio.seconds for audio in found.values()]
    problems = (*unfinished, *inaudible, *unlisted)
    return Report(
        need,
        INCOMPLETE if problems else SYNTHETIC if ours else COMPLETE,
        sum(len(audio.files) for audio in found.values()),
        None if None in seconds else sum(second or 0.0 for second in seconds) / HOUR_S,
        problems,
        makeable=not ours and any(listing.made for listing in absent),
        audible=not inaudible,
    )


def _folder_faults(audio: AudioFolder, found: AudioFiles, amount: Amount | None, common_hz: int) -> Iterator[str]:
    folder = audio.folder
    if not found.files:
        yield f"{folder}: no {audio.suffix} files" if folder.is_dir() else f"{folder}: not there"
        return
    yield from audio_faults(audio, found, common_hz)
    if amount is None:
        return
    if len(found.files) < amount.files:
        yield f"{audio.name}: {len(found.files):,} of {amount.files:,} files in {folder}"
    elif found.seconds is not None and amount.hours is not None:
        hours = found.seconds / HOUR_S
        if abs(hours - amount.hours) > _HOURS_OFF * amount.hours + amount.rounding_h:
            yield f"{audio.name}: {hours:.2f} h in {folder}, expected {amount.hours:g}"


def rate_of(found: Iterable[AudioFiles]) -> int:
    """The rate in Hz that most files have; 16 kHz where there are no files."""
    rates = Counter(header.rate_hz for audio in found for header in audio.headers.values() if header.frames)
    return rates.most_common(1)[0][0] if rates else SAMPLE_RATE


def audio_faults(audio: AudioFolder, found: AudioFiles, common_hz: int) -> Iterator[str]:
    """Problems of the files whose headers were read: a line for each kind; `common_hz` is the result of `rate_of`."""
    empty = [file for file, header in found.headers.items() if not header.frames and not header.fault]
    yield from fault(audio.name, empty, "files hold no audio")
    sound = {file: header for file, header in found.headers.items() if header.frames}
    if damaged := [header.fault for header in found.headers.values() if header.fault]:
        yield f"{audio.name}: {len(damaged):,} files are damaged: {damaged[0]}"
    expected_hz = common_hz if audio.form == ALIKE else SAMPLE_RATE
    other = [(file, header) for file, header in sound.items() if (header.rate_hz, header.channels) != (expected_hz, 1)]
    if other and audio.form != ANY:
        file, header = other[0]
        form = wrong_form(header.rate_hz, header.channels, expected_hz)
        yield f"{audio.name}: {len(other):,} files have another form: {file}: {form}"
    short = [(f, header) for f, header in sound.items() if header.frames * SAMPLE_RATE < MIN_SAMPLES * header.rate_hz]
    for file, header in short[:1]:
        yield f"{audio.name}: {len(short):,} files are too short: {file}: {too_short(header.frames, header.rate_hz)}"

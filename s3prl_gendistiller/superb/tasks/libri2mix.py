"""The Kaldi tables of Libri2Mix that s3prl's diarization reads: made from mixtures, and checked.

A mixture's name holds its two utterances, `<speaker>-<chapter>-<number>_...`, both of which begin with the mixture.
LibriMix's metadata (metadata/LibriSpeech/*.rttm, from alignments) holds the times of speech in each utterance.
"""

from __future__ import annotations

import math
import os
import re
import reprlib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import soundfile
from tqdm import tqdm

from s3prl_gendistiller.distill.audio import MIN_SAMPLES, SAMPLE_RATE, unreadable
from s3prl_gendistiller.distill.files import files_below
from s3prl_gendistiller.errors import UserError, few
from s3prl_gendistiller.formats.headers import read_header, too_short, wrong_form
from s3prl_gendistiller.formats.lists import misshapen_line, read_table
from s3prl_gendistiller.formats.rttm import Turn, read_turns
from s3prl_gendistiller.superb.tasks.needs import LEFT_OUT, fault

TABLES = ("segments", "utt2spk", "spk2utt", "reco2dur", "rttm")
MIXTURES = {"train": "train-100", "dev": "dev", "test": "test"}
ALIGNMENTS = {"train": "train_clean_100.rttm", "dev": "dev_clean.rttm", "test": "test_clean.rttm"}
_FIELDS = {"segments": (4, "NAME RECORDING START END"), "utt2spk": (2, "NAME SPEAKER"), "reco2dur": (2, "NAME SECONDS")}
_LATE_S = 0.1
Table = Mapping[str, str]
_MEASURED = 2_000  # recordings whose lengths are compared


def mixtures(folder: Path, split: str) -> Path:
    """The folder of audio of a Kaldi folder: below it, or where LibriMix writes its mixtures."""
    own = folder / "wav"
    return own if own.is_dir() else folder.parent / "wav16k" / "max" / MIXTURES[split] / "mix_both"


def make_tables(audio: Path, split: str, root: Path, librimix: Path | None, *, progress: bool) -> dict[str, str]:
    """Name and content of the tables of a split; UserError without audio, or where a mixture has no alignments.

    Args:
        audio: the folder of <mixture>.wav.
        root: the folder of Libri2Mix; without `librimix`, LibriMix is looked for in this folder and beside it.
        librimix: a git checkout of LibriMix.
    """
    files = list(files_below(audio, ".wav"))
    if not files:
        raise UserError(f"{audio}: found no mixtures, expected those of LibriMix's generate_librimix_sd.sh (mix_both)")
    turns: dict[str, list[Turn]] = defaultdict(list)  # by <speaker>-<chapter>-<number>
    for utterance, found in read_turns(_alignments(split, root, librimix)).items():
        for turn in found:
            turns[f"{turn.speaker}-{utterance}"].append(turn)  # the file's own names lack the speaker
    if lacking := [file.stem for file in files if any(one not in turns for one in file.stem.split("_"))]:
        raise UserError(
            f"{audio}: {len(lacking):,} of {len(files):,} names are not two utterances joined by _ that the alignments "
            f"contain: {few(lacking)}; expected mixtures of LibriSpeech"
        )
    tables: dict[str, list[str]] = defaultdict(list)
    segments: dict[str, list[str]] = defaultdict(list)
    for file in tqdm(files, desc=f"Libri2Mix {split}", unit="file", disable=not progress):
        mixture = file.stem
        try:
            info = soundfile.info(str(file))
        except soundfile.LibsndfileError as error:
            raise unreadable(file, error) from error
        tables["wav.scp"].append(f"{mixture} {file.absolute()}")
        tables["reco2dur"].append(f"{mixture} {info.frames / info.samplerate:.4f}")
        for utterance in mixture.split("_"):
            for speaker, start_s, end_s in turns[utterance]:
                name = f"{speaker}_{mixture}_{start_s * 1000:06.0f}_{end_s * 1000:06.0f}"
                tables["segments"].append(f"{name} {mixture} {start_s:.3f} {end_s:.3f}")
                tables["utt2spk"].append(f"{name} {speaker}")
                span = f"{start_s:.3f} {end_s - start_s:.3f}"
                tables["rttm"].append(f"SPEAKER {mixture} 1 {span} <NA> <NA> {speaker} <NA> <NA>")
                segments[speaker].append(name)
    tables["spk2utt"] = [f"{speaker} {' '.join(sorted(names))}" for speaker, names in segments.items()]
    return {
        name: "".join(f"{line}\n" for line in (lines if name == "rttm" else sorted(lines)))
        for name, lines in tables.items()
    }


def _alignments(split: str, root: Path, librimix: Path | None) -> Path:
    homes = [librimix] if librimix is not None else [root, root.parent / "LibriMix"]
    candidates = [home / "metadata" / "LibriSpeech" / ALIGNMENTS[split] for home in homes]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    lacking = " and no ".join(map(str, candidates))
    raise UserError(f"Libri2Mix {split}: found no {lacking}; give --librimix CHECKOUT of s3prl's LibriMix")


def table_faults(folder: Path, files: Sequence[Path], speakers: int) -> Iterator[str]:
    """Faults in the tables of a folder that make s3prl's diarization fail; one line each.

    Args:
        files: the recordings where no wav.scp names them.
        speakers: the largest number of one recording.
    """
    if not all((folder / name).is_file() for name in _FIELDS):
        return
    for name, (count, form) in _FIELDS.items():
        if misshapen := list(misshapen_line(folder / name, count, form)):
            yield from misshapen
            return
    rows = read_table(folder / "segments")
    segments: dict[str, list[str]] = defaultdict(list)
    for name, rest in rows:
        segments[rest.split()[0]].append(name)
    untimely = [f"{name} {rest}" for name, rest in rows if not _is_span(*rest.split()[1:])]
    yield from fault(folder / "segments", untimely, "lines without seconds with 0 <= START < END", "; correct them")
    listed = folder / "wav.scp"
    recordings = dict(read_table(listed)) if listed.is_file() else {file.stem: str(file) for file in files}
    for recording, path in recordings.items():
        if path.endswith("|") or path in ("-", ""):
            yield f"{listed}: {recording} is {path!r}, expected the path of a file; nothing is run"
            return
    seconds = dict(read_table(folder / "reco2dur"))
    faults = list(_missing_lines(folder, recordings, segments, seconds, speakers))
    yield from faults or _recording_faults(folder, recordings, seconds, files)


def _is_span(start: str, end: str) -> bool:
    try:
        return 0 <= float(start) < float(end) < math.inf
    except ValueError:
        return False


def _missing_lines(
    folder: Path, recordings: Table, segments: Mapping[str, Sequence[str]], seconds: Table, speakers: int
) -> Iterator[str]:
    """Recordings and segments that one table names and another lacks."""
    speaker = dict(read_table(folder / "utt2spk"))
    for table, there in (("reco2dur", seconds.keys()), ("segments", segments.keys())):
        if lacking := [recording for recording in recordings if recording not in there]:
            yield f"{folder / table}: no line for {len(lacking):,} recordings: {few(lacking)}"
    without_audio = [recording for recording in seconds if recording not in recordings] if recordings else []
    yield from fault(folder / "reco2dur", without_audio, f"recordings have no audio file and {LEFT_OUT}")
    if nobody := [name for names in segments.values() for name in names if name not in speaker]:
        yield f"{folder / 'utt2spk'}: no line for {len(nobody):,} names of segments: {few(nobody)}"
    crowded = [one for one, names in segments.items() if len({speaker.get(name) for name in names}) > speakers]
    yield from fault(folder / "segments", crowded, f"recordings have more than {speakers} speakers")
    for recording in recordings:
        lasts = seconds.get(recording, "1")
        if not re.fullmatch(r"\d+(\.\d*)?", lasts) or not 0 < float(lasts) < math.inf:
            yield f"{folder / 'reco2dur'}: {recording} lasts {reprlib.repr(lasts)}, expected seconds above 0"


def _recording_faults(folder: Path, recordings: Table, seconds: Table, files: Sequence[Path]) -> Iterator[str]:
    """Recordings that are shorter than reco2dur states, and those outside `files` that are of another form."""
    checked = {str(file) for file in files}
    for recording, path in [*recordings.items()][:: -(-len(recordings) // _MEASURED) or 1]:
        header = read_header(Path(path))
        if not os.path.exists(path) or ((header.fault or not header.frames) and path in checked):
            continue  # the check of the list, or of the file, names it
        lasts_s = header.frames / header.rate_hz
        if header.fault or not header.frames:
            yield header.fault or f"{path}: holds no audio"
        elif path not in checked and (header.rate_hz, header.channels) != (SAMPLE_RATE, 1):
            yield f"{path}: {wrong_form(header.rate_hz, header.channels, SAMPLE_RATE)}"
        elif path not in checked and header.frames < MIN_SAMPLES:
            yield f"{path}: {too_short(header.frames, header.rate_hz)}"
        elif lasts_s < float(seconds.get(recording, 0)) - _LATE_S:
            yield f"{folder / 'reco2dur'}: {recording} lasts {seconds[recording]} s, but {path} only {lasts_s:.2f} s"

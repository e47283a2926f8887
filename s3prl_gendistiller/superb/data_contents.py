"""What stands in the lists of SUPERB's corpora, held against what s3prl's loaders make of it.

They leave out what has no transcript, end in the middle of a run where a label is unknown, and run a command that
stands in a Kaldi table.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from pathlib import Path

from s3prl_gendistiller.distill.audio import SAMPLE_RATE, audio_frames
from s3prl_gendistiller.distill.files import files_below, read_text
from s3prl_gendistiller.errors import UserError, few
from s3prl_gendistiller.superb.kaldi_check import LEFT_OUT, full_lines, kaldi_faults, misshapen_line
from s3prl_gendistiller.superb.needs import Need, Part

Files = Callable[[Part], Sequence[Path]]
"""The audio files of a part."""

KEYWORDS = ("yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go", "_unknown_", "_silence_")
"""The classes of s3prl's KS."""
SPEAKERS = range(10001, 10001 + 1251)
"""The numbers of the speakers that s3prl's SID knows."""
SLOTS = ("action", "object", "location")
"""The columns of Fluent Speech Commands that s3prl reads."""


def contents(need: Need, files: Files) -> Iterator[str]:
    """What is wrong in the lists and folders of a task that are there; one line each."""
    try:
        yield from _READERS[need.task.name](need, files)
    except UserError as error:
        yield str(error)


def _phonemes(need: Need, files: Files) -> Iterator[str]:
    lexicons = [Path(path) for path in need.config["corpus"]["lexicon"]]
    known = {line.split()[0] for path in lexicons if path.is_file() for line in full_lines(path)}
    for part in need.parts:
        said = yield from _transcripts(part, files)
        unknown = sorted({word for text in said.values() for word in text.split()} - known)
        if known and unknown:
            yield f"{part.name}: {len(unknown):,} words are not in {few(lexicons)}: {few(unknown)}; add them"


def _letters(need: Need, files: Files) -> Iterator[str]:
    dictionary = need.config["datarc"].get("dict_path")
    known = {line.split(" ")[0] for line in full_lines(Path(dictionary))} if dictionary else set()
    for listing in need.listings:
        rows = csv.DictReader(io.StringIO(read_text(listing.path))) if listing.path.is_file() else ()
        wrong = [row for row in rows if not (row.get("length") or "").isdecimal()]
        if wrong:
            yield f"{listing.path}: {len(wrong):,} lengths are no numbers of samples: {wrong[0].get('length')!r}"
    for part in need.parts:
        said = yield from _transcripts(part, files)
        for folder in sorted({file.parent for file in files(part)}):
            expected = folder / f"{folder.parent.name}-{folder.name}.trans.txt"
            if not expected.is_file():
                yield f"{expected}: no such file; s3prl looks for the transcripts of {folder} under this name"
        strange = {name: "".join(sorted({*text.upper().replace(" ", "|")} - known)) for name, text in said.items()}
        strange = {name: letters for name, letters in strange.items() if letters}
        if known and strange:
            letters = " ".join(sorted({*"".join(strange.values())}))
            yield (
                f"{part.name}: {len(strange):,} transcripts hold letters that {dictionary} lacks ({letters}): "
                f"{few(strange)}; spell them out"
            )


def _transcripts(part: Part, files: Files) -> Generator[str, None, dict[str, str]]:
    """The transcripts of a part of LibriSpeech, by utterance."""
    found = files(part)
    said: dict[str, str] = {}
    for transcript in files_below(part.folder, ".trans.txt"):
        for line in full_lines(transcript):
            name, _, text = line.strip().partition(" ")
            if name in said:
                yield f"{transcript}: has more than one line for {name}; keep one"
            said[name] = text.strip()
    silent = [file for file in found if not said.get(file.stem, "?")]
    lacking = [file for file in found if file.stem not in said]
    if lacking:
        yield f"{part.name}: {len(lacking):,} utterances have no line in a .trans.txt: {few(lacking)}; add them"
    if silent:
        yield f"{part.name}: {len(silent):,} utterances have an empty transcript: {few(silent)}; remove both"
    unheard = sorted({*said} - {file.stem for file in found})
    if found and unheard:
        yield f"{part.name}: {len(unheard):,} transcripts have no {part.suffix} file and {LEFT_OUT}: {few(unheard)}"
    twice = [name for name, count in Counter(file.stem for file in found).items() if count > 1]
    if twice:
        yield f"{part.name}: {len(twice):,} names of utterances occur more than once: {few(twice)}; keep one of each"
    return {file.stem: said[file.stem] for file in found if file.stem in said}


def _keywords(need: Need, files: Files) -> Iterator[str]:
    training, test = need.roots
    heard = {file.relative_to(test).parts[0] for part in need.parts if part.folder == test for file in files(part)}
    strange = sorted(heard - {*KEYWORDS})
    if strange:
        yield f"{test}: holds the classes {few(strange)}, expected {', '.join(KEYWORDS)}; remove or rename them"
    noise = training / "_background_noise_"
    if noise.is_dir():
        recordings = list(files_below(noise, ".wav"))
        if not recordings:
            yield f"{noise}: no .wav files; s3prl's class _silence_ comes from them"
        for file in recordings:
            samples = audio_frames(file)
            if samples < SAMPLE_RATE:
                yield f"{file}: {samples} samples at 16 kHz, expected {SAMPLE_RATE}, for s3prl draws seconds; remove it"


def _queries(need: Need, files: Files) -> Iterator[str]:
    for listing in need.listings:
        if listing.path.suffix == ".lst" and listing.path.is_file():
            yield from misshapen_line(listing.path, 2, "a path without spaces and a language")


def _speakers(need: Need, files: Files) -> Iterator[str]:
    (path,) = (listing.path for listing in need.listings)
    if not path.is_file():
        return
    misshapen = list(misshapen_line(path, 2, "1, 2 or 3 and a path without spaces"))
    yield from misshapen
    for number, line in enumerate(full_lines(path), start=1) if not misshapen else ():
        purpose, name = line.split()
        speaker = re.fullmatch(r"id(\d{5})", [*Path("//", name).parts][-3])
        if purpose not in ("1", "2", "3") or speaker is None or int(speaker[1]) not in SPEAKERS:
            yield (
                f"{path} line {number}: found {line.strip()!r}, expected 1 (train), 2 (dev) or 3 (test) and "
                f"id{SPEAKERS[0]} to id{SPEAKERS[-1]}/SESSION/FILE"
            )
            return


def _trials(need: Need, files: Files) -> Iterator[str]:
    for listing in need.listings:
        if listing.named is None or not listing.path.is_file():
            continue
        misshapen = list(misshapen_line(listing.path, 3, "1 or 0 and two paths without spaces"))
        yield from misshapen
        labels = {line.split()[0] for line in full_lines(listing.path)}
        if not misshapen and labels != {"0", "1"}:
            yield f"{listing.path}: found trials {few(sorted(labels))}, expected both 1 (same speaker) and 0 (another)"
    part = need.parts[0]
    speakers = {file.relative_to(part.folder).parts[0] for file in files(part)}
    if speakers:
        there = [entry.name for entry in part.folder.iterdir() if entry.is_dir()]
        silent = sorted({*there} - speakers)
        if silent:
            yield f"{part.folder}: {few(silent)} hold no audio, but s3prl counts speakers by folders; remove them"


def _conversations(need: Need, files: Files) -> Iterator[str]:
    speakers = int(need.config["datarc"]["num_speakers"])
    for part in need.parts:
        folder = Path(need.config["loaderrc"][f"{part.name}_dir"])
        if folder.is_dir():
            yield from kaldi_faults(folder, files(part), speakers)


def _commands(need: Need, files: Files) -> Iterator[str]:
    known: dict[str, set[str]] = {}
    for listing in need.listings:  # train first
        if not listing.path.is_file():
            continue
        reader = csv.DictReader(io.StringIO(read_text(listing.path)))
        absent = [column for column in ("path", *SLOTS) if column not in (reader.fieldnames or [])]
        if absent:
            yield f"{listing.path}: no column {few(absent)}, found {', '.join(reader.fieldnames or [])}"
            continue
        rows = [(reader.line_num, row) for row in reader]
        empty = [line for line, row in rows if not all(row[column] for column in ("path", *SLOTS))]
        if empty:
            yield f"{listing.path} line {empty[0]}: no path, action, object or location; {len(empty):,} such lines"
        values = {slot: {row[slot] for _, row in rows if row[slot]} for slot in SLOTS}
        known = known or values
        for slot in SLOTS:
            unseen = sorted(values[slot] - known[slot])
            if unseen:
                yield f"{listing.path}: {slot} is {few(unseen)}, which no line of train_data.csv has; correct it"


def _slots(need: Need, files: Files) -> Iterator[str]:
    labels, slots = (listing.path for listing in need.listings)
    if not labels.is_file() or not slots.is_file():
        return
    known = {"O", *read_text(slots).split("\n")[1:]}
    said: dict[str, str] = {}
    for line in full_lines(labels):
        name, _, text = line.strip().partition(" ")
        if name in said:
            yield f"{labels}: has more than one line for {name}; keep one"
        said[name] = text
    for part in need.parts:
        found = [file for file in files(part) if file.stem in said]
        lacking = [file for file in files(part) if file.stem not in said]
        if lacking:
            yield f"{part.name}: {len(lacking):,} utterances have no line in {labels} and {LEFT_OUT}: {few(lacking)}"
        for file in found:
            words, *tags = said[file.stem].split("\t")
            if len(tags) != 1 or not words:
                yield f"{labels}: the line of {file.stem} is {said[file.stem]!r}, expected BOS WORDS EOS, tab, slots"
                return
            unknown = {*tags[0].split(" ")[1:-1]} - known
            if unknown:
                yield f"{labels}: the line of {file.stem} has the slot {few(sorted(unknown))}, which {slots} lacks"
                return


def _emotions(need: Need, files: Files) -> Iterator[str]:
    for path in (listing.path for listing in need.listings if listing.path.is_file()):
        try:
            content = json.loads(read_text(path))
            labels, rows = content["labels"], content["meta_data"]
            named = [(row["path"], row["label"]) for row in rows]
            unknown = sorted({label for _, label in named} - {*labels})
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            yield f"{path}: found {type(error).__name__} ({error}), expected labels and meta_data with path and label"
            continue
        if not named:
            yield f"{path}: names no utterance; write it again with --make"
        if unknown:
            yield f"{path}: has the label {few(unknown)}, expected {', '.join(labels)}; correct it"


_READERS: Mapping[str, Callable[[Need, Files], Iterator[str]]] = {
    **{"pr": _phonemes, "asr": _letters, "ks": _keywords, "qbe": _queries, "sid": _speakers},
    **{"asv": _trials, "sd": _conversations, "ic": _commands, "sf": _slots, "er": _emotions},
}

"""What stands in the lists of SUPERB's corpora, held against what s3prl's loaders make of it.

They leave out what has no transcript, end in the middle of a run where a label is unknown, and run a command that
stands in a Kaldi table.
"""

from __future__ import annotations

import io
import json
import re
import reprlib
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from s3prl_gendistiller.distill.audio import SAMPLE_RATE, audio_frames
from s3prl_gendistiller.distill.files import csv_reader, files_below, read_text, refuse_irregular
from s3prl_gendistiller.distill.manifest import sample_count
from s3prl_gendistiller.errors import UserError, few
from s3prl_gendistiller.host.shims.ctc_corpora import read_lexicons, refuse_unfit_lexicon
from s3prl_gendistiller.superb.corpus.check import UNREADABLE
from s3prl_gendistiller.superb.corpus.kaldi_check import LEFT_OUT, full_lines, kaldi_faults, misshapen_line
from s3prl_gendistiller.superb.corpus.needs import Need, Part
from s3prl_gendistiller.superb.tasks.der import read_rttm
from s3prl_gendistiller.superb.tasks.mtwv import read_truth

Files = Callable[[Part], Sequence[Path]]
"""The audio files of a part."""

NOISE = "_background_noise_"
"""The folder of KS that a list of the others' is a file for."""
KEYWORDS = ("yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go", "_unknown_", "_silence_")
"""The classes of s3prl's KS."""
SPEAKERS = range(10001, 10001 + 1251)
"""The numbers of the speakers that s3prl's SID knows."""
SLOTS = ("action", "object", "location")
"""The columns of Fluent Speech Commands that s3prl reads."""


def contents(need: Need, files: Files) -> Iterator[str]:
    """What is wrong in the lists and folders of a task that are there; one line each."""
    lists = [listing.path for listing in need.listings if listing.path.exists()]
    try:
        for path in lists:
            if path.name != NOISE:
                refuse_irregular(path, "text")
        yield from _READERS[need.task.name](need, files)
    except UserError as error:
        yield str(error)
    except UNREADABLE as error:
        yield f"{need.task.name}: {few(lists)} cannot be read ({type(error).__name__}: {error}); write the lists again"


def _phonemes(need: Need, files: Files) -> Iterator[str]:
    lexicons = [listing.path for listing in need.listings]
    there = [str(path) for path in lexicons if path.exists()]
    vocabulary = Path(need.config.get("text", {}).get("vocab_file", ""))
    known = read_lexicons(there)
    if there and vocabulary.is_file():
        try:
            refuse_unfit_lexicon(known, {*read_text(vocabulary).split("\n")}, there)
        except UserError as error:
            yield str(error)
    for part in need.parts:
        said = yield from _transcripts(part, files)
        unknown = sorted({word for text in said.values() for word in text.split()} - known.keys())
        if known and unknown:
            yield f"{part.name}: {len(unknown):,} words are not in {few(lexicons)}: {few(unknown)}; add them"


def _letters(need: Need, files: Files) -> Iterator[str]:
    dictionary = need.config["datarc"].get("dict_path")
    known = {line.split(" ")[0] for line in full_lines(Path(dictionary))} if dictionary else set()
    for listing in need.listings:
        rows = csv_reader(listing.path, io.StringIO(read_text(listing.path) if listing.path.exists() else ""))
        lengths = [(rows.line_num, row.get("length")) for row in rows]
        wrong = [(line, length) for line, length in lengths if sample_count(length or "") is None]
        for line, length in wrong[:1]:
            found = reprlib.repr(length)
            yield f"{listing.path} line {line}: {len(wrong):,} lengths are no numbers of samples, here {found}"
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
    noise = training / NOISE
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
        elif listing.path.suffix == ".rttm" and listing.path.is_file():
            try:
                read_truth(listing.path.parent)
            except UserError as error:
                yield str(error)


def _speakers(need: Need, files: Files) -> Iterator[str]:
    (path,) = (listing.path for listing in need.listings)
    if not path.is_file():
        return
    misshapen = list(misshapen_line(path, 2, "1, 2 or 3 and a path without spaces"))
    yield from misshapen
    for number, line in enumerate(full_lines(path), start=1) if not misshapen else ():
        purpose, name = line.split()
        speaker = re.fullmatch(r"id(\d{5})", ["", *Path("//", name).parts][-3])
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
    rttm = Path(need.config["loaderrc"]["test_dir"]) / "rttm"
    if rttm.is_file() and not read_rttm(rttm):
        yield f"{rttm}: found no line SPEAKER RECORDING 1 START SECONDS, expected who speaks when"


def _commands(need: Need, files: Files) -> Iterator[str]:
    known: dict[str, set[str]] = {}
    for listing in need.listings:  # train first
        if not listing.path.is_file():
            continue
        reader = csv_reader(listing.path, io.StringIO(read_text(listing.path)))
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
        heard, infix = {file.stem for file in found}, f"-{part.folder.name}-"
        lost = [name for name in said if name.startswith(part.beginnings) and infix in name and name not in heard]
        if lost:
            yield f"{labels}: {len(lost):,} lines have no .wav file in {part.folder} and {LEFT_OUT}: {few(lost)}"
        for file in found:
            words, *tags = said[file.stem].split("\t")
            if len(tags) != 1 or not words:
                yield f"{labels}: the line of {file.stem} is {said[file.stem]!r}, expected BOS WORDS EOS, tab, slots"
                return
            signs, marks = words.strip(" ").split(" "), tags[0].split(" ")  # as s3prl splits them
            if len(signs) != len(marks):
                yield (
                    f"{labels}: the line of {file.stem} has {len(signs) - 2} words between BOS and EOS and "
                    f"{len(marks) - 2} slots between O and the intent, expected as many; correct it"
                )
                return
            unknown = {*marks[1:-1]} - known
            if unknown:
                yield f"{labels}: the line of {file.stem} has the slot {few(sorted(unknown))}, which {slots} lacks"
                return


def _emotions(need: Need, files: Files) -> Iterator[str]:
    for path in (listing.path for listing in need.listings if listing.path.is_file()):
        try:
            content = json.loads(read_text(path))
        except (ValueError, RecursionError) as error:
            yield f"{path}: found {type(error).__name__} ({error}), expected JSON; write it again with --make"
            continue
        yield from _fold(path, content)


def _fold(path: Path, content: Any) -> Iterator[str]:
    """What is wrong in one fold's list of IEMOCAP: labels, class -> number, and meta_data, of path and label."""
    labels, rows = (content.get(key) if isinstance(content, dict) else None for key in ("labels", "meta_data"))
    if not isinstance(labels, dict) or not isinstance(rows, list):
        yield f"{path}: found {reprlib.repr(content)}, expected labels and meta_data, a mapping and a list; correct it"
        return
    for emotion, number in labels.items():
        if type(number) is not int or not 0 <= number < len(labels):
            found = f"labels.{emotion} is {reprlib.repr(number)}"
            yield f"{path}: {found}, expected a whole number from 0 to {len(labels) - 1}; correct it"
    for position, row in enumerate(rows, start=1):
        if not isinstance(row, dict) or not all(isinstance(row.get(key), str) for key in ("path", "label")):
            found = f"entry {position} of meta_data is {reprlib.repr(row)}"
            yield f"{path}: {found}, expected a path and a label, both texts; correct it"
            return
    unknown = sorted({row["label"] for row in rows} - {*labels})
    if not rows:
        yield f"{path}: names no utterance; write it again with --make"
    if unknown:
        yield f"{path}: has the label {few(unknown)}, expected {', '.join(labels)}; correct it"


_READERS: Mapping[str, Callable[[Need, Files], Iterator[str]]] = {
    **{"pr": _phonemes, "asr": _letters, "ks": _keywords, "qbe": _queries, "sid": _speakers},
    **{"asv": _trials, "sd": _conversations, "ic": _commands, "sf": _slots, "er": _emotions},
}

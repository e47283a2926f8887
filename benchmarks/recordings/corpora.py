"""Recordings of people in place of synthetic speech: spoken digits for KS, SID, ASV and QbE, spoken orders for IC.

Input are the tables that `tables` reads; `digits.csv` has the columns `speaker` and `word`, `orders.csv` has `drink`,
`size` and `roast`.

s3prl's keyword spotting knows ten keywords by name, so each digit lies in the folder of one of them; the README in
its folders names the digit of each keyword. Recordings are written as 16-bit WAV files, never altered; ASV and the
documents of QbE join several of them with pauses.

SF is not written: the orders have the values of their slots, but neither a transcript nor the order in which the values
are said, and s3prl's head learns a transcript with a slot for each word.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from recordings.clips import Copied
from recordings.queries import queries
from recordings.speakers import speakers
from recordings.tables import PLAIN, SPLITS, read_table, summary
from s3prl_gendistiller.corpora import fluent, speech_commands
from s3prl_gendistiller.corpora.catalogue import known
from s3prl_gendistiller.corpora.clips import Clip
from s3prl_gendistiller.corpora.folder import CorpusPlan, write_plans
from s3prl_gendistiller.corpora.recording import Recorder
from s3prl_gendistiller.errors import UserError

REAL_TASKS = ("ks", "sid", "asv", "qbe", "ic")
DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
KEYWORD_OF = dict(zip(DIGITS, speech_commands.KEYWORDS, strict=True))
_SLOTS = {"action": "drink", "object": "size", "location": "roast"}
_NOISE_S = 20
_SILENCES = 40
_NOT_SAID = "none"
_HASHED = "_nohash_"
"""s3prl hashes the part of a file's name before this text to find the split."""


def write_real(
    out: str | Path,
    recordings: str | Path,
    *,
    tasks: Sequence[str] = REAL_TASKS,
    seed: int = 0,
    progress: bool = True,
) -> list[Path]:
    """Writes recordings in the layouts of the tasks; returns the corpus folders.

    Args:
        recordings: the folder with digits.csv and orders.csv, which is only read.
        seed: of the synthetic noise in place of silence.

    Raises:
        UserError: a task has no recordings, a table is missing or wrong, or a folder holds something else.
    """
    known("--tasks", tasks, REAL_TASKS)
    source = Path(recordings)
    plans: list[CorpusPlan] = []
    if {"ks", "sid", "asv", "qbe"} & set(tasks):
        digits = _named(source, read_table(source, "digits.csv", ("speaker", "word")))
        plans += _keywords(digits, seed) if "ks" in tasks else []
        plans += [speakers(digits, verification="asv" in tasks)] if {"sid", "asv"} & set(tasks) else []
        plans += [queries(digits)] if "qbe" in tasks else []
    if "ic" in tasks:
        plans.append(_commands(_named(source, read_table(source, "orders.csv", tuple(_SLOTS.values())))))
    with Recorder(workers=1, progress=progress) as recorder:
        return write_plans(Path(out), plans, recorder)


def _named(source: Path, rows: Sequence[dict[str, str]]) -> Sequence[dict[str, str]]:
    """Adds the column `name`: the file's name, with a checksum of the path if the name is not plain or not unique."""
    stems = Counter(Path(row["file"]).stem.casefold() for row in rows)
    for row in rows:
        file = Path(row["file"])
        row["name"] = file.stem
        if stems[file.stem.casefold()] > 1 or not PLAIN.fullmatch(file.stem) or _HASHED in file.stem:
            path = file.relative_to(source).as_posix()
            digest = hashlib.sha256(path.encode(errors="surrogateescape")).hexdigest()[:12]
            row["name"] = f"{re.sub(f'{_HASHED}|[^A-Za-z0-9-]', '_', file.stem)[:32]}-{digest}"
    return rows


def _keywords(digits: Sequence[Mapping[str, str]], seed: int) -> list[CorpusPlan]:
    """Digits as the ten keywords, under names that s3prl's hash assigns to their splits."""
    strange = sorted({row["word"] for row in digits} - set(DIGITS))
    if strange:
        raise UserError(f"--real: digits.csv: word is {strange[0]!r}, expected one of {', '.join(DIGITS)}")
    clips: dict[str, list[Clip]] = {split: [] for split in SPLITS}
    for row in digits:
        stem, split = row["name"], row["split"]
        asked = {"train": "train", "dev": "valid", "test": "test"}[split]
        name = speech_commands.speaker_name(asked, stem, lambda salt, stem=stem: f"{stem}_{salt}")  # type: ignore[misc]
        clips[split].append(Copied(f"{KEYWORD_OF[row['word']]}/{name}_nohash_0.wav", row["file"]))
    lists = {
        "testing_list.txt": "".join(f"{clip.path}\n" for clip in clips["test"]),
        "validation_list.txt": "".join(f"{clip.path}\n" for clip in clips["dev"]),
    }
    words = "\n".join(f"| {keyword} | {digit} |" for digit, keyword in KEYWORD_OF.items())
    about = (
        "Spoken digits (recordings of people) in the layout of Speech Commands v0.01.\n\nThe folders bear the names "
        "of the ten keywords that s3prl knows; what is said in them is a digit:\n\n"
        f"| folder | word |\n|---|---|\n{words}\n\nThere are no other words, so the class `_unknown_` is empty. "
        "Background noise and silence are synthetic. All speakers are in all splits: the splits are by take."
    )
    recipe = {"corpus": speech_commands.FOLDER, "real": summary(digits), "seed": seed}
    training = [*clips["train"], *clips["dev"], *clips["test"], *speech_commands.background(seed, _NOISE_S)]
    tests = [*clips["test"], *speech_commands.silences(seed, _SILENCES)]
    return [
        CorpusPlan(speech_commands.FOLDER, recipe, training, lambda root: lists, about),
        CorpusPlan(speech_commands.TEST_FOLDER, {**recipe, "corpus": "test set"}, tests, lambda root: {}, about),
    ]


def _commands(orders: Sequence[Mapping[str, str]]) -> CorpusPlan:
    """Orders as commands, with three of their slots in the columns that s3prl reads."""
    seen: defaultdict[str, set[str]] = defaultdict(set)
    for row in orders:
        if row["split"] == "train":
            for slot in _SLOTS.values():
                seen[slot].add(row[slot])
    commands: list[fluent.Command] = []
    clips: list[Clip] = []
    for row in orders:
        new = [f"{slot} {row[slot]!r}" for slot in _SLOTS.values() if row[slot] not in seen[slot]]
        if new:
            raise UserError(f"--real: orders.csv: {new[0]} is in {row['split']} but not in train; correct the table")
        path = f"wavs/speakers/unknown/{row['name']}.wav"
        intent = fluent.Intent(*(row[slot] or _NOT_SAID for slot in _SLOTS.values()))
        split = {"train": "train", "dev": "valid", "test": "test"}[row["split"]]
        commands.append(fluent.Command(split, path, "unknown", "", "", intent))
        clips.append(Copied(path, row["file"]))
    texts = {f"data/{s}_data.csv": fluent.table([c for c in commands if c.split == s]) for s in fluent.SPLITS}
    columns = "\n".join(f"| {column} | {slot} |" for column, slot in _SLOTS.items())
    about = (
        "Spoken orders in a coffee shop (recordings of people) in the layout of Fluent Speech Commands.\n\n"
        f"s3prl reads three columns; here they hold three of the slots of an order, `{_NOT_SAID}` where not said:\n\n"
        f"| column | slot |\n|---|---|\n{columns}\n\nSpeakers are not identified and may be in several splits. "
        "There are no transcripts."
    )
    recipe = {"corpus": fluent.FOLDER, "real": summary(orders)}
    return CorpusPlan(fluent.FOLDER, recipe, clips, lambda root: texts, about)

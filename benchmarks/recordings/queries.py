"""Spoken digits in QUESST 2014's layout, for query by example (QbE).

A query is one digit, unaltered. A document is `_COUNT` different digits in a row by one speaker. The speakers of
documents, the first half in the order of their names, say no query. Queries of the dev and eval sets are recordings
of the splits dev and test. Nothing is trained, and no recording of the split train is used.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from recordings.clips import Copied, Joined, series
from recordings.tables import summary
from s3prl_gendistiller.corpora import quesst
from s3prl_gendistiller.corpora.clips import Clip
from s3prl_gendistiller.corpora.folder import CorpusPlan
from s3prl_gendistiller.errors import UserError

_COUNT = 3
_SETS = {"dev": ("dev", 1), "eval": ("test", 2)}
"""Set of queries -> split of the recordings, and recordings of each word by each speaker."""


def queries(digits: Sequence[Mapping[str, str]]) -> CorpusPlan:
    """
    Raises:
        UserError: fewer than two speakers, or a set of queries or the documents would be empty.
    """
    names = sorted({row["speaker"] for row in digits})
    searched = set(names[: len(names) // 2])
    clips: list[Clip] = []
    said: dict[str, str] = {}
    for speaker in sorted(searched):
        own = [row for row in digits if row["speaker"] == speaker and row["split"] != "train"]
        for group in series(own, _COUNT, f"{quesst.FOLDER}/{speaker}"):
            name = f"quesst14_{len(said) + 1:05d}"
            said[name] = " ".join(row["word"] for row in group)
            clips.append(Joined(f"Audio/{name}.wav", tuple(row["file"] for row in group)))
    asked: dict[str, dict[str, str]] = {}
    for part, (split, takes) in _SETS.items():
        asked[part] = {}
        for row in _first(takes, [r for r in digits if r["speaker"] not in searched and r["split"] == split]):
            name = f"quesst14_{part}_{len(asked[part]) + 1:03d}"
            asked[part][name] = row["word"]
            clips.append(Copied(f"{part}_queries/{name}.wav", row["file"]))
    occurring = {word for text in said.values() for word in text.split()}
    if any(not occurring & set(words.values()) for words in asked.values()):
        raise UserError(
            f"--real: digits.csv: found {len(names)} speakers, {len(said)} documents of {_COUNT} words and "
            f"{' and '.join(f'{len(words)} queries of {part}' for part, words in asked.items())}; expected two or more "
            "speakers with recordings in dev and test, and queries that occur; add recordings or leave out qbe"
        )
    about = (
        "Spoken digits (recordings of people) in the layout of QUESST 2014.\n\n"
        f"A query is one digit. A document is {_COUNT} different digits by one speaker: recordings in a row, joined by "
        f"this package with pauses of faint noise, so nobody said a document as a whole. {len(searched)} speakers say "
        f"the documents and {len(names) - len(searched)} others the queries. Every match is exact and all of it is "
        "`nnenglish`, which is what s3prl reads. Dev and eval queries are different takes of the same speakers. No "
        "recording is in two documents. `query_words.txt` and `document_words.txt` say the words; the Java scorer of "
        "the real corpus is not included."
    )
    recipe = {"corpus": quesst.FOLDER, "real": summary(digits)}
    return CorpusPlan(quesst.FOLDER, recipe, clips, lambda root: quesst.listings(root, said, asked), about)


def _first(takes: int, rows: Sequence[Mapping[str, str]]) -> list[Mapping[str, str]]:
    """The first recordings of each word by each speaker, at most so many."""
    counted: dict[tuple[str, str], int] = {}
    chosen = []
    for row in rows:
        key = (row["speaker"], row["word"])
        counted[key] = counted.get(key, 0) + 1
        if counted[key] <= takes:
            chosen.append(row)
    return chosen
